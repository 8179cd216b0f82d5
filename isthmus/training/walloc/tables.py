# SPDX-License-Identifier: Apache-2.0
"""Entropy tables of a trained codec: counted on the training images, clustered into a family indexed by scale."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.entropy.models.factorized import ROWS, FactorizedModel
from isthmus.entropy.tables.family import TableFamily
from isthmus.models.walloc.linear import WallocLinear
from isthmus.progress import each

Analyze = Callable[[Tensor, int], NDArray[np.int16]]  # an image at a quality to its latents [c, h, w]
SCALES = 64  # tables in the family
REACH = 255  # counts beyond +-255 are rare: escapes
GRID = (1, 12, 23, 34, 45, 56, 67, 78, 89, 100)  # qualities that are counted
ROUNDS = 15
PRECISION = 12  # 13 and 14 save less than 0.1 % of the bytes on photographs and need 2 and 4 times the lookup table


def fit_factorized(linear: WallocLinear, images: Sequence[Tensor], *, threads: int = 1) -> FactorizedModel:
    """The factorized entropy model of a codec, from images uint8 [3, H, W]."""
    return fit_tables(linear.analyzer(threads), images, linear.config.latent_channels)


def fit_tables(analyze: Analyze, images: Sequence[Tensor], channels: int) -> FactorizedModel:
    """The factorized entropy model of what an analysis makes of images, uint8 [3, H, W]."""
    histograms, offsets = _count(analyze, images, channels)  # [N, images, c, A], [N, images, c]
    qualities, count, channels, width = histograms.shape
    flat = torch.from_numpy(histograms.reshape(-1, width))
    clusters, assignment = _cluster(flat)
    choices = assignment.reshape(qualities, count, channels)
    median = np.median(choices, axis=1)  # [N, c]
    every = np.arange(1, ROWS + 1)
    expected = np.stack([np.interp(every, GRID, column) for column in median.T], axis=1).round().astype(np.uint8)
    surprise = choices - expected[np.array(GRID) - 1][:, None, :]
    counts = [*clusters, _smooth(surprise, SCALES), _smooth(offsets, REACH)]
    low = [-REACH] * SCALES + [-SCALES, -REACH]
    return FactorizedModel(TableFamily.from_counts(counts, low, precision=PRECISION), expected)


def _count(analyze: Analyze, images: Sequence[Tensor], channels: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Histograms over -REACH..REACH of each quality, image and channel less its offset, and those offsets."""
    width = 2 * REACH + 1
    histograms = np.zeros((len(GRID), len(images), channels, width), np.float32)
    offsets = np.zeros((len(GRID), len(images), channels), np.int64)
    for i, image in enumerate(each(images, "images", what="counting latents")):
        for j, quality in enumerate(GRID):
            y = analyze(image, quality)
            planes = y.reshape(channels, -1).astype(np.int64)
            n = planes.shape[1]
            offsets[j, i] = (2 * planes.sum(axis=1) + n) // (2 * n)
            for c in range(channels):
                shifted = np.clip(planes[c] - offsets[j, i, c], -REACH, REACH) + REACH
                histograms[j, i, c] = np.bincount(shifted, minlength=width)
    return histograms, offsets


def _cluster(histograms: Tensor) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Lloyd's iteration, code length as distance: counts of each cluster by rising entropy, and who is where."""
    total = histograms.sum(1)
    p = histograms / total[:, None]
    entropy = -(p * p.clamp_min(1e-30).log2()).sum(1)
    order = entropy.argsort()
    share = (total * (entropy + 0.02))[order].cumsum(0)  # begin with equal shares of the bits
    assignment = torch.empty(len(histograms), dtype=torch.long)
    assignment[order] = (share / share[-1] * SCALES).long().clamp_max(SCALES - 1)
    for _ in range(ROUNDS):
        sums = torch.zeros(SCALES, histograms.shape[1]).index_add_(0, assignment, histograms)
        q = sums / sums.sum(1, keepdim=True).clamp_min(1)
        costs = -(q * (1 - 1e-6) + 1e-6 / q.shape[1]).log2()
        assignment = (histograms @ costs.T).argmin(1)
    sums = torch.zeros(SCALES, histograms.shape[1], dtype=torch.float64)
    sums.index_add_(0, assignment, histograms.double())
    sums += 1e-9  # an empty cluster becomes uniform, and is never the cheapest
    q = sums / sums.sum(1, keepdim=True)
    rank = (-(q * q.log2()).sum(1)).argsort()
    place = torch.empty_like(rank)
    place[rank] = torch.arange(SCALES)
    return list(sums[rank].numpy()), place[assignment].numpy()


def _smooth(values: NDArray[np.int64], reach: int) -> NDArray[np.float64]:
    """Counts of -reach..reach with a thin two-sided tail, so that nothing near is left to the escape."""
    ramp = np.arange(-reach, reach + 1)
    counts = np.bincount(np.clip(values.reshape(-1), -reach, reach) + reach, minlength=2 * reach + 1)
    return counts + values.size * 0.01 * np.exp(-np.abs(ramp) / 8)
