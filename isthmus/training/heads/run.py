# SPDX-License-Identifier: Apache-2.0
"""A training of a head from a data set of latents to its file, whatever the task."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.devices import check_device
from isthmus.models.heads import LatentInput, build_head
from isthmus.optim.checkpoint import checkpoint_of
from isthmus.optim.loop import LoopSettings
from isthmus.optim.run_folder import check_run
from isthmus.training.heads.logs import FIELDS, Curve
from isthmus.training.heads.logs import NAME as CURVE
from isthmus.training.heads.recipe import HeadRecipe
from isthmus.training.heads.running import Running
from isthmus.training.heads.saved import HeadFacts, Start, save_head
from isthmus.training.heads.task import Judged, Task
from isthmus.training.heads.trainer import HeadTrainer
from isthmus.training.heads.world import World, world_of

FILES = (CURVE, "tensorboard")  # that a training writes beside checkpoints before it ends
VALIDATIONS = 40  # at most, evenly spread; once an epoch where there are fewer


def train_head(
    latents: LatentDataset,
    task: Task,
    recipe: HeadRecipe,
    out: Path,
    running: Running,
) -> Path | None:
    """Trains a head for a task; its file in `out`, or None if time ran out.

    It begins with random weights, or those of a start, and of a backbone those of ImageNet. Stopped or killed, the same
    call takes up the last checkpoint, to the same curve. Steps and validations follow the recipe. Begun by torchrun, or
    with an accelerator, each process takes a part of every batch. Raises ValueError for a recipe that cannot be
    followed, a start of another head or codec, a checkpoint of other settings or data, and a loss that is no number;
    UnwritableFileError.
    """
    recipe.check()
    out = Path(out)
    check_run(out, FILES)
    steps = recipe.steps(len(task.indices))
    held = task.validation.fingerprint if task.validation is not None else None  # what the curve is of, too
    config = {
        **asdict(recipe), "task": task.name, "data": latents.fingerprint, "validation": held, "steps": steps,
        **task.config,
    }  # fmt: skip
    first = Start.of(running.init, recipe.head, latents) if running.init is not None else None
    if first is not None:
        config["init"] = first.digest
    checkpoint = checkpoint_of(out, config)  # refuses one of other settings before anything is read
    with world_of(check_device(running.device), running.accelerator) as world:
        for note in task.notes if world.leads else ():
            print(f"isthmus: {note}", file=sys.stderr)
        about, origin = LatentInput.of(latents), latents.origin
        torch.manual_seed(recipe.seed)
        is_new = checkpoint is None  # else no weights have to be fetched
        head = build_head(recipe.head, about, task.outputs, pretrained=first is None and is_new)
        task.begin(head)
        if first is not None and is_new:
            for note in first.give(head):
                print(f"isthmus: {running.init}: {note}", file=sys.stderr)
        trainer = HeadTrainer(head, latents, task, recipe, world, steps=steps, workers=running.workers)
        facts = HeadFacts(
            task.name, recipe.head, about, task.outputs, task.classes, origin["codec"], origin["settings"],
            asked=task.config, recipe=asdict(recipe),
        )  # fmt: skip
        done = -1 if checkpoint is None else checkpoint["step"]
        return _run(trainer, task, facts, out, config, running, world, done)


def _run(
    trainer: HeadTrainer, task: Task, facts: HeadFacts, out: Path, config: dict[str, Any], running: Running,
    world: World, done: int,
) -> Path | None:  # fmt: skip
    """done: step of the checkpoint, below 0 without one."""
    steps = trainer.steps
    every = max(1, round(steps / max(1.0, min(trainer.recipe.epochs, VALIDATIONS))))
    loop = LoopSettings(steps, running.minutes, running.save_minutes, every)
    fields = (*FIELDS, *(f"validation_{name}" for name in task.columns))
    curve = Curve(out, done, fields=fields, tensorboard=running.tensorboard) if world.leads else None
    judge = build_head(facts.head, facts.input, facts.outputs).to(world.device)
    last: list[Judged | None] = []

    def judged() -> Judged | None:
        judge.load_state_dict(trainer.averaged())
        last[:] = [task.judge(judge)]
        return last[0]

    def validate() -> str:
        values, found = trainer.meter.told(), judged()
        if found is not None:
            values |= {f"validation_{name}": getattr(found, name) for name in task.columns}
        if curve is not None and values:
            curve.add(trainer.state.step, values)
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        return f"step {trainer.state.step}: {told}" if told else ""

    if not trainer.run(out, config, loop, validate) or not world.leads:
        return None
    results: dict[str, Any] = {"steps": steps, "seconds": round(trainer.state.seconds)}
    found = last[0] if last else judged()
    if found is not None:
        results["validation"] = found.describe()
    return save_head(out, replace(facts, results=results), trainer.averaged())
