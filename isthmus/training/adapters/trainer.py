# SPDX-License-Identifier: Apache-2.0
"""The steps of a network that learns from photographs, and from one that knows them already."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from isthmus.models.watching import watched
from isthmus.optim.average import MovingAverage
from isthmus.optim.checkpoint import TrainingState
from isthmus.optim.decay import decayed
from isthmus.optim.loop import LoopSettings, run_loop
from isthmus.optim.schedule import short_warmup, warmup_cosine
from isthmus.training.adapters.photographs import RandomViews, Steps
from isthmus.training.adapters.recipe import AdapterRecipe
from isthmus.training.heads.batches import read
from isthmus.training.heads.step import Meter, take_step
from isthmus.training.heads.world import World

Rates = dict[str, float]  # of parameters whose names begin so


class Distillation:
    """A student, a teacher that stays as it is, and views of photographs that both see.

    seen: what the student reads of a batch, on its device; None: pixels, as the teacher. Without a teacher the student
    learns from labels alone. features: steps, the first of `steps`, in which the student's adapter alone learns to give
    the features that the teacher has at its place, and at the modules with the paths `watching`, which are behind it in
    both. cost: of what the student has just read, added to every loss.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module | None, views: RandomViews, recipe: AdapterRecipe, rates: Rates, *,
        seen: Callable[[dict[str, Any]], Tensor] | None = None, steps: int, features: int = 0, world: World,
        workers: int = 0, cost: Callable[[], Tensor] | None = None, watching: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.cost, self.watching = cost, watching
        self.world, self.device = world, world.device
        self.student: Any = student.to(world.device)
        self.teacher: Any = teacher
        self.views, self.recipe = views, recipe
        self.seen, self.workers = seen or self.pixels, workers
        self.steps, self.features = steps, features
        groups: list[dict[str, Any]] = []
        for start, rate in rates.items():
            for decay, some in zip((recipe.decay, 0.0), decayed(student, start), strict=True):
                groups.append({"params": some, "weight_decay": decay, "lr": rate, "top": rate})
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
        self.meter = Meter()
        self.average = MovingAverage(nn.ModuleDict({"student": student}), recipe.average)
        modules = nn.ModuleDict({"student": student, "meter": self.meter})
        self.state = TrainingState(modules, self.average.tensors, self.optimizer)

    def averaged(self) -> dict[str, Tensor]:
        """Averages of the student's weights, by name; those of all processes once they are the same."""
        return {name.removeprefix("student."): value for name, value in self.average.tensors.items()}

    def run(self, folder: Path, config: dict[str, Any], loop: LoopSettings, validate: Callable[[], str] | None) -> bool:
        """Trains to the end, or as long as `loop` says; whether it is complete. Raises ValueError for a loss of nan."""
        batches = self._batches()
        step = lambda: self._step(next(batches))  # noqa: E731
        done = run_loop(
            self.state, step, folder, config, loop, device=self.device, validate=validate, leads=self.world.leads,
            any_of=self.world.any,
        )  # fmt: skip
        self.world.same(self.average.tensors.values())  # statistics of batches are of each process alone
        return done

    def _batches(self) -> Iterator[dict[str, Any]]:
        """Begun when the first is asked for, at the step where the checkpoint stands."""
        order = Steps(self.views.places, self.recipe, self.state.step, self.world.rank, self.world.size)
        yield from read(DataLoader(
            self.views, batch_sampler=order, num_workers=self.workers, collate_fn=self.views.collate,
            pin_memory=self.device.type == "cuda", prefetch_factor=4 if self.workers else None,
        ))  # fmt: skip

    def _step(self, batch: dict[str, Any]) -> Callable[[], str]:
        state = self.state
        self.world.seed(self.recipe.seed, state.step)
        first = state.step < self.features
        done, whole = (state.step, self.features) if first else (state.step - self.features, self.steps - self.features)
        for group in self.optimizer.param_groups:
            group["lr"] = group["top"] * warmup_cosine(done, whole, short_warmup(whole, self.recipe.warmup))
        self.student.train(not first)  # in the first stage what is behind the adapter stays as it is
        if first:
            self.student.adapter.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._multiplied():
            loss = self._of_features(batch) if first else self._of_outputs(batch)
            loss = loss if self.cost is None else loss + self.cost()
        torch.autograd.backward(loss)
        if first and self.watching:
            for parameter in self.student.tail.parameters():
                parameter.grad = None  # which gradients have only come through
        self.world.average_gradients(self.student)
        self.meter.samples += len(batch["label"]) * self.world.size
        advice = "try lower rates (--set teacher_rate=..., tail_rate=...)"
        return take_step(self, self.student, float(loss.detach()), advice)

    def _multiplied(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16")

    def pixels(self, batch: dict[str, Any]) -> Tensor:
        """float32 [n, 3, size, size] in 0..255 on the device."""
        moved = batch["pixels"].to(self.device, non_blocking=True)
        return moved.float().contiguous(memory_format=torch.channels_last)  # type: ignore[no-any-return]

    def _of_features(self, batch: dict[str, Any]) -> Tensor:
        """Squared error of features, over the variance of each channel; the mean over all modules."""
        given = self.student.adapter(self.seen(batch))
        if not self.watching:
            with torch.no_grad():
                wanted = self.student.teacher(self.pixels(batch))
            return _error(given, wanted)
        assert self.teacher is not None
        with watched(self.student.tail, self.watching) as behind:
            self.student.tail(given)
        with torch.no_grad(), watched(self.teacher, (self.teacher.at, *self.watching)) as taught:
            self.teacher(self.pixels(batch))
        errors = [_error(given, taught[self.teacher.at])]
        errors += [_error(behind[path], taught[path]) for path in self.watching]
        return torch.stack(errors).mean()

    def _of_outputs(self, batch: dict[str, Any]) -> Tensor:
        logits = self.student(self.seen(batch)).float()
        smoothing, share = (self.recipe.smoothing, 1.0) if self.teacher is None else (0.0, self.recipe.labels)
        loss = logits.new_zeros(())
        if self.teacher is not None:
            with torch.no_grad():
                said = self.teacher(self.pixels(batch)).float().log_softmax(1)
            loss = (1 - share) * F.kl_div(logits.log_softmax(1), said, reduction="batchmean", log_target=True)
        for names, part in (("label", batch["share"]), ("partner", 1 - batch["share"])):
            labels = batch[names].to(self.device, non_blocking=True)
            if share and part and bool((batch[names] >= 0).any()):
                loss = loss + share * part * F.cross_entropy(logits, labels, label_smoothing=smoothing)
        return loss


def _error(given: Tensor, wanted: Tensor) -> Tensor:
    given, wanted = given.float(), wanted.float()
    axes = (0, *range(2, wanted.ndim))
    return ((given - wanted) ** 2 / wanted.var(axes, keepdim=True).clamp_min(1e-6)).mean()
