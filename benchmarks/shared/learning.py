# SPDX-License-Identifier: Apache-2.0
"""What the comparisons of learning share: arrays that stand for a data set of latents, and one training of a head."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus.datasets.latents.batch import collate
from isthmus.models.heads import LatentInput, build_head
from isthmus.optim.loop import LoopSettings
from isthmus.training.heads import HeadRecipe, evaluate
from isthmus.training.heads.classify import Classification
from isthmus.training.heads.evaluation import Evaluated
from isthmus.training.heads.trainer import HeadTrainer
from isthmus.training.heads.world import World


class Grids:
    """Arrays of tokens as a data set of latents has them: int16 [n, c, *grid], labels int64 [n].

    step: what the integers of each channel are multiplied by, [c]; without it, by 1. like: those whose mean and
    deviation of each channel count, as what is judged on is normalised by what was trained on.
    """

    path, codec, classes, collate = "arrays", None, None, staticmethod(collate)

    def __init__(
        self, values: np.ndarray, labels: np.ndarray, like: "Grids | None" = None, step: np.ndarray | None = None
    ) -> None:
        self.values, self.labels = torch.from_numpy(values), labels
        self.shapes = {"y": tuple(self.values.shape[1:])}
        spread = (-1, *(1,) * (values.ndim - 2))
        self.step = torch.ones(1) if step is None else torch.from_numpy(step).float().reshape(spread)
        if like is None:
            wide, over = self.values.float() * self.step, (0, *range(2, values.ndim))
            self.mean, self.std = {"y": wide.mean(over).reshape(spread)}, {"y": wide.std(over).reshape(spread)}
        else:
            self.mean, self.std = like.mean, like.std

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"y": self.values[place], "label": int(self.labels[place])}

    def __getitems__(self, places: Sequence[int]) -> list[dict[str, Any]]:
        return [self[place] for place in places]

    def dequantize(self, batch: torch.Tensor, device: Any = None) -> torch.Tensor:
        """As `LatentDataset.dequantize`."""
        return batch.to(device).float() * self.step.to(device)


def train(
    data: Any, held: Any, recipe: HeadRecipe, classes: int, device: str, task: Callable[..., Any] = Classification
) -> tuple[Evaluated, float]:
    """What the head came to, and samples a second. task: of one class a sample."""
    torch.manual_seed(recipe.seed)
    head, world = build_head(recipe.head, LatentInput.of(data), classes), World(device=torch.device(device))
    steps = recipe.steps(len(data))
    trainer = HeadTrainer(head, data, task(data, recipe), recipe, world, steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        trainer.run(Path(folder), {}, LoopSettings(steps, save_minutes=1e9), None)
        spent = time.perf_counter() - start
    head.load_state_dict(trainer.averaged())
    return evaluate(head, held, held.labels), steps * recipe.batch / spent
