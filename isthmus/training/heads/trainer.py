# SPDX-License-Identifier: Apache-2.0
"""The steps of a training of a head on latents."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.optim.average import MovingAverage
from isthmus.optim.checkpoint import TrainingState
from isthmus.optim.decay import decayed
from isthmus.optim.loop import LoopSettings, run_loop
from isthmus.optim.schedule import short_warmup, warmup_cosine
from isthmus.training.heads.batches import EndlessBatches, read
from isthmus.training.heads.recipe import HeadRecipe
from isthmus.training.heads.step import Meter, take_step
from isthmus.training.heads.task import Task
from isthmus.training.heads.world import World


class HeadTrainer:
    """A head, its optimizer, and batches of a data set of latents, for a task.

    Each step draws from generators that its number seeds, so that a training that was stopped has the same curve.
    """

    def __init__(
        self, head: nn.Module, data: LatentDataset, task: Task, recipe: HeadRecipe, world: World, *, steps: int,
        workers: int = 0,
    ) -> None:  # fmt: skip
        recipe.check()
        self.head, self.data, self.task, self.recipe, self.world = head.to(world.device), data, task, recipe, world
        self.workers, self.steps = workers, steps
        self.model = world.spread(self.head)
        matrices, others = decayed(head)
        groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, recipe.rate, betas=(0.9, 0.98))
        self.meter = Meter()
        self.average = MovingAverage(nn.ModuleDict({"head": head}), recipe.average)
        modules = nn.ModuleDict({"head": head, "meter": self.meter})
        self.state = TrainingState(modules, self.average.tensors, self.optimizer)

    def averaged(self) -> dict[str, Tensor]:
        """Averages of the head's weights, by name."""
        return {name.removeprefix("head."): value for name, value in self.average.tensors.items()}

    def run(self, folder: Path, config: dict[str, Any], loop: LoopSettings, validate: Callable[[], str] | None) -> bool:
        """Trains to the end, or as long as `loop` says; whether it is complete. Raises ValueError for a loss of nan."""
        batches = self._batches()
        return run_loop(
            self.state, lambda: self._step(next(batches)), folder, config, loop, device=self.world.device,
            validate=validate, leads=self.world.leads, any_of=self.world.any,
        )  # fmt: skip

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        """The parts of each step; begun when the first is asked for, at the step where the checkpoint stands."""
        recipe, world, pinned = self.recipe, self.world, self.world.device.type == "cuda"
        order = EndlessBatches(
            self.task.indices, recipe.batch, recipe.seed, first=self.state.step, parts=recipe.accumulate,
            rank=world.rank, world=world.size,
        )  # fmt: skip
        loader = read(DataLoader(
            self.task.samples, batch_sampler=order, num_workers=self.workers, collate_fn=self.data.collate,
            pin_memory=pinned, persistent_workers=self.workers > 0,
        ))  # fmt: skip
        while True:
            yield [next(loader) for _ in range(recipe.accumulate)]

    def _step(self, parts: list[dict[str, Any]]) -> Callable[[], str]:
        state, recipe = self.state, self.recipe
        self.world.seed(recipe.seed, state.step)
        factor = warmup_cosine(state.step, self.steps, short_warmup(self.steps, recipe.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * factor
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for number, part in enumerate(parts):
            waits = number + 1 < len(parts) and self.world.size > 1
            with self.model.no_sync() if waits else nullcontext():  # type: ignore[operator]
                loss = self._loss(part) / len(parts)
                self.world.backward(loss)
            total += float(loss.detach())
            self.meter.samples += len(part["y"]) * self.world.size
        return take_step(self, self.head, total, "try a lower rate (--set rate=...)")

    def _loss(self, part: dict[str, Any]) -> Tensor:
        device = self.world.device
        mask = None if bool(part["mask"].all()) else part["mask"].to(device, non_blocking=True)
        y = self.data.dequantize(part["y"], device)
        y, targets = self.task.shown(y, part)  # type: ignore[arg-type]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            out = self.model(y, mask)
        return self.task.loss(out.float(), targets)
