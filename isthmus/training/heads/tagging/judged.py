# SPDX-License-Identifier: Apache-2.0
"""How right a tagger of several tags is on a data set of latents: mean average precision."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.training.heads.evaluation import logits_of
from isthmus.training.heads.tagging.precision import Ranking

RESAMPLES = 500
AT_ONCE = 16  # sounds of minutes are many numbers


@dataclass(frozen=True)
class JudgedTags:
    """scores: float32 [n, classes], before the sigmoid; truth: bool [n, classes]; loss: mean of nats."""

    scores: NDArray[np.float32]
    truth: NDArray[np.bool_]
    loss: float

    @cached_property
    def ranking(self) -> Ranking:
        return Ranking(self.scores, self.truth)

    @cached_property
    def precisions(self) -> NDArray[np.float64]:
        """Average precision of each class; nan for those that no sample has."""
        return self.ranking.average(np.ones(len(self.truth)))

    @property
    def map(self) -> float:
        """Mean of the average precision over classes that some sample has."""
        return float(np.nanmean(self.precisions))

    def interval(self, share: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """Of the mean average precision, by the bootstrap over samples."""
        count, generator = len(self.truth), np.random.default_rng(seed)
        found = []
        for _ in range(RESAMPLES):
            weights = np.bincount(generator.integers(0, count, count), minlength=count)
            found.append(np.nanmean(self.ranking.average(weights)))
        low, high = np.quantile(found, [(1 - share) / 2, (1 + share) / 2])
        return float(low), float(high)

    def describe(self) -> dict[str, Any]:
        low, high = self.interval()
        missing = int(np.isnan(self.precisions).sum())
        return {"map": self.map, "low": low, "high": high, "loss": self.loss, "classes_without_samples": missing}


def judge_tags(head: nn.Module, data: LatentDataset, targets: NDArray[np.float32], *, workers: int = 0) -> JudgedTags:
    """targets: as `columns.targets_of` gives them, rows of zeros where a sample has no tags and is left out."""
    indices = np.flatnonzero(targets.any(1))
    logits = logits_of(head, data, indices.tolist(), batch=AT_ONCE, workers=workers)
    truth = targets[indices]
    loss = float(F.binary_cross_entropy_with_logits(logits, torch.from_numpy(truth)))
    return JudgedTags(logits.numpy(), truth > 0, loss)
