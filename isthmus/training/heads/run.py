# SPDX-License-Identifier: Apache-2.0
"""A training of a classifier from data sets of latents to its file."""

import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.devices import check_device
from isthmus.files import check_folder
from isthmus.models.heads import HEADS, LatentInput, build_head
from isthmus.optim.checkpoint import checkpoint_of
from isthmus.optim.loop import LoopSettings
from isthmus.training.heads.evaluation import Evaluated, evaluate, labels_as
from isthmus.training.heads.logs import Curve
from isthmus.training.heads.recipe import HeadRecipe
from isthmus.training.heads.saved import HeadFacts, save_head
from isthmus.training.heads.trainer import HeadTrainer
from isthmus.training.heads.views import Views
from isthmus.training.heads.world import World, world_of

VALIDATIONS = 40  # at most, evenly spread; once an epoch where there are fewer


def train_classifier(
    latents: LatentDataset,
    recipe: HeadRecipe,
    out: Path,
    *,
    validation: LatentDataset | None = None,
    device: str = "cpu",
    workers: int = 0,
    loop: LoopSettings | None = None,
    tensorboard: bool = False,
) -> Path | None:
    """Trains a head on the labels of a data set of latents; its file in `out`, or None if time ran out.

    validation: of samples that are never trained on, made by the same codec. Stopped or killed, the same call takes up
    the last checkpoint, to the same curve. loop: its minutes count; steps and validations follow the recipe. Begun by
    torchrun, each process takes a part of every batch. Raises ValueError for data sets that do not fit each other or
    the recipe, for a checkpoint of other settings or data, and for a loss that is no number; UnwritableFileError.
    """
    recipe.check()
    check_folder(out, parents=True)
    labels, classes = check_labels(latents)
    held = None if validation is None else labels_as(validation, classes)
    if validation is not None:
        check_alike(latents, validation)
    indices = np.flatnonzero(labels >= 0)
    steps = recipe.steps(len(indices))
    config = {**asdict(recipe), "data": latents.fingerprint, "steps": steps}
    checkpoint_of(out, config)  # refuses one of other settings before anything is read
    with world_of(check_device(device)) as world:
        about, outputs = LatentInput.of(latents), len(classes) if classes else int(labels.max()) + 1
        if recipe.head not in HEADS or recipe.head.startswith(("dense", "clip")):
            raise ValueError(f"head {recipe.head!r} does not classify; expected convnext-s, convnext-b, vit-s or vit-b")
        torch.manual_seed(recipe.seed)
        head = build_head(recipe.head, about, outputs)
        uniform = all(shape is not None for shape in latents.shapes.values())
        if not uniform and (recipe.flip or recipe.mixing != "none") and world.leads:
            print("isthmus: samples of several sizes: no flips, no mixtures", file=sys.stderr)
        views = Views(recipe, latents.codec, about.axes, outputs, uniform=uniform)
        trainer = HeadTrainer(head, latents, indices, recipe, views, world, steps=steps, workers=workers)
        origin = latents.origin
        facts = HeadFacts(
            "classify", recipe.head, about, outputs, classes, origin["codec"], origin["settings"], asdict(recipe)
        )
        return _run(trainer, facts, out, config, loop, validation, held, workers, tensorboard, world)


def _run(
    trainer: HeadTrainer, facts: HeadFacts, out: Path, config: dict[str, Any], loop: LoopSettings | None,
    validation: LatentDataset | None, held: NDArray[np.int64] | None, workers: int, tensorboard: bool, world: World,
) -> Path | None:  # fmt: skip
    steps = trainer.steps
    loop = loop or LoopSettings(steps)
    every = max(1, round(steps / max(1.0, min(trainer.recipe.epochs, VALIDATIONS))))
    loop = replace(loop, steps=steps, validate_every=every)
    checkpoint = checkpoint_of(out, config)
    curve = Curve(out, checkpoint["step"] if checkpoint else 0, tensorboard=tensorboard) if world.leads else None
    judge = build_head(facts.head, facts.input, facts.outputs).to(world.device)
    found: list[Evaluated] = []

    def validate() -> str:
        values = trainer.meter.told()
        if validation is not None and held is not None:
            judge.load_state_dict(trainer.averaged())
            found[:] = [evaluate(judge, validation, held, workers=workers)]
            values |= {"validation_accuracy": found[0].accuracy, "validation_loss": found[0].loss}
        if curve is not None and values:
            curve.add(trainer.state.step, values)
        return f"step {trainer.state.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())

    if not trainer.run(out, config, loop, validate) or not world.leads:
        return None
    results: dict[str, Any] = {"steps": steps, "seconds": round(trainer.state.seconds)}
    if found:
        results["validation"] = found[0].describe()
    elif validation is not None and held is not None:
        judge.load_state_dict(trainer.averaged())
        results["validation"] = evaluate(judge, validation, held, workers=workers).describe()
    return save_head(out, replace(facts, results=results), trainer.averaged())


def check_labels(data: LatentDataset) -> tuple[NDArray[np.int64], list[str] | None]:
    """Labels and classes to train on. Raises ValueError where there are none, or one class only."""
    labels = data.labels
    there = np.unique(labels[labels >= 0])
    if not len(there):
        raise ValueError(f"{data.path}: no labels: class folders, a column `label` or cls members make some")
    if len(there) < 2:
        raise ValueError(f"{data.path}: all labelled samples are of one class; expected two or more")
    left = int((labels < 0).sum())
    if left:
        warnings.warn(f"{data.path}: {left} of {len(labels)} samples have no label and are left out", stacklevel=3)
    return labels, data.classes


def check_alike(one: LatentDataset, other: LatentDataset) -> None:
    """Raises ValueError where latents of two data sets do not mean the same."""
    check_origin(one.origin["codec"], one.path, other)
    if one.shapes != other.shapes:
        warnings.warn(f"{other.path}: planes {other.shapes}, {one.path} has {one.shapes}", stacklevel=3)


def check_origin(codec: dict[str, Any], of: str, data: LatentDataset) -> None:
    """Raises ValueError where a data set was not made by the codec `of` something else, as a manifest has it."""
    theirs = data.origin["codec"]
    if any(codec.get(name) != theirs.get(name) for name in ("name", "weights_hash")):
        raise ValueError(
            f"{data.path}: latents of {theirs.get('name')} ({theirs.get('weights_hash')}), {of} reads those of "
            f"{codec.get('name')} ({codec.get('weights_hash')}): make both with one codec"
        )
