# SPDX-License-Identifier: Apache-2.0
"""What latents tell of labels, in bits that a code saves which knows them.

A code that learns its tables as it goes needs for symbols what the Dirichlet-multinomial gives their counts (Krichevsky
and Trofimov's estimator, 1981). What a sample costs after all others, less what it costs after the others of its class,
is what its label tells of it: an information bottleneck by compression. Labels that are shuffled show what such a
figure is where there is nothing to tell.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Float64 = NDArray[np.float64]
PRIOR = 0.5  # of each symbol, after Krichevsky and Trofimov
AT_ONCE = 256  # samples


def code_length(counts: NDArray[Any]) -> Float64:
    """Bits of symbols counted along the last axis, [..., symbols], by a code that learns: [...]."""
    counts = np.asarray(counts, np.int64)
    alphabet = counts.shape[-1]
    total = counts.sum(-1)
    nats = _log_gamma(total + PRIOR * alphabet) - _log_gamma(np.full((), PRIOR * alphabet))
    nats = nats - (_log_gamma(counts + PRIOR) - _log_gamma(np.full((), PRIOR))).sum(-1)
    return np.asarray(nats / np.log(2), np.float64)


def _log_gamma(x: Float64) -> Float64:
    """Of numbers above 0, by Stirling's series from 8 on (error below 1e-12)."""
    x = np.asarray(x, np.float64)
    shift = np.zeros_like(x)
    y = x.copy()
    for _ in range(8):
        small = y < 8
        shift = np.where(small, shift + np.log(np.where(small, y, 1.0)), shift)
        y = np.where(small, y + 1, y)
    series = 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5) - 1 / (1680 * y**7)
    return (y - 0.5) * np.log(y) - y + 0.5 * np.log(2 * np.pi) + series - shift


@dataclass(frozen=True)
class LabelInformation:
    """Bits a sample by channel, [c]: `bits` that labels save, `control` that shuffled ones do; `low` and `high` of
    `bits` less `control`, by the bootstrap over samples (95 %)."""

    bits: Float64
    control: Float64
    low: Float64
    high: Float64

    @property
    def net(self) -> Float64:
        """Bits a sample that labels save beyond what shuffled ones do."""
        return self.bits - self.control


def label_information(
    histograms: Counts, labels: Counts, *, seed: int = 0, shuffles: int = 4, resamples: int = 1000
) -> LabelInformation:
    """How many bits of latents labels tell, channel by channel.

    histograms: [n, c, symbols], how often each symbol is in each channel of each sample. labels: [n], 0 or more. The
    places within a sample share tables, so that only what a class changes in the distribution of a channel counts:
    a lower bound of what a network may read. Raises ValueError for other shapes, negative labels, or one class.
    """
    histograms, labels = np.asarray(histograms), np.asarray(labels)
    if histograms.ndim != 3 or labels.shape != histograms.shape[:1] or not len(labels):
        raise ValueError(f"label_information: histograms {histograms.shape} and labels {labels.shape}")
    if labels.min() < 0 or labels.min() == labels.max():
        raise ValueError("label_information: expected labels from 0 on, of two classes or more")
    generator = np.random.default_rng(seed)
    gains = _gains(histograms, labels)
    control = np.mean([_gains(histograms, generator.permutation(labels)).mean(0) for _ in range(shuffles)], 0)
    count = len(labels)
    means = [gains[generator.integers(0, count, count)].mean(0) - control for _ in range(resamples)]
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return LabelInformation(gains.mean(0), control, low, high)


def _gains(histograms: Counts, labels: Counts) -> Float64:
    """Bits that each sample costs less after the others of its class than after all others, [n, c]."""
    classes = np.zeros((int(labels.max()) + 1, *histograms.shape[1:]), np.int64)
    np.add.at(classes, labels, histograms)
    pooled = classes.sum(0)
    all_of, own = code_length(pooled), code_length(classes)
    gains = np.empty(histograms.shape[:2])
    for start in range(0, len(labels), AT_ONCE):
        part, told = histograms[start : start + AT_ONCE], labels[start : start + AT_ONCE]
        after_all = all_of - code_length(pooled - part)
        after_own = own[told] - code_length(classes[told] - part)
        gains[start : start + AT_ONCE] = after_all - after_own
    return gains
