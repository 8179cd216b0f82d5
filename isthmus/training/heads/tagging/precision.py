# SPDX-License-Identifier: Apache-2.0
"""Average precision: how far up what is there stands among all samples, ordered by what a head says of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Ranking:
    """The samples in each class's order of scores, sorted once for many weightings of samples.

    scores: floats [n, classes], larger is surer; truth: bool [n, classes]. Samples of one score share the precision
    behind the last of them, so that their order in the data does not matter.
    """

    def __init__(self, scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> None:
        if scores.shape != truth.shape or scores.ndim != 2:
            raise ValueError(f"average precision: scores {scores.shape} of truth {truth.shape}, expected [n, classes]")
        self.order = np.argsort(-scores, axis=0, kind="stable").T  # [classes, n]
        ranked = np.take_along_axis(scores.T, self.order, 1)
        self.truth = np.take_along_axis(truth.T, self.order, 1)
        count = len(scores)
        last = np.ones(ranked.shape, bool)
        last[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
        places = np.where(last, np.arange(count), count)
        self.ends = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]

    def average(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """Average precision of each class with samples that count so often, [n]; nan for classes that none has."""
        weight = weights.astype(np.float64)[self.order]
        right = weight * self.truth
        above = np.take_along_axis(weight.cumsum(1), self.ends, 1)
        hits = np.take_along_axis(right.cumsum(1), self.ends, 1)
        precision = np.divide(hits, above, out=np.zeros_like(hits), where=above > 0)
        there = right.sum(1)
        summed = (right * precision).sum(1)
        return np.divide(summed, there, out=np.full(len(there), np.nan), where=there > 0)
