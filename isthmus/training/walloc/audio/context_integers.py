# SPDX-License-Identifier: Apache-2.0
"""From a trained context model along time to the integers of docs/format-context.md, `context.2`."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.entropy.models.causal_predictor import CausalPredictor
from isthmus.entropy.models.context_predictor import EXACT, ROWS
from isthmus.entropy.models.integer_arrays import MAX_SHIFT
from isthmus.kernels.context.rows import MEAN_LIMIT, SCALE_LIMIT
from isthmus.kernels.context.sums import LEVELS
from isthmus.models.causal import OTHERS, CausalContext
from isthmus.training.walloc.context_integers import (
    KNOTS,
    MAX_SCALE,
    ROOM,
    SMALLEST,
    STEPS_PER_OCTAVE,
    rounded,
)  # fmt: skip

Float = NDArray[np.float64]


@torch.no_grad()
def to_integers(context: CausalContext) -> CausalPredictor:
    """The integers of a model on the CPU; largest fixed-point scales that keep every sum exact."""
    n = context.get_buffer("typical").double().numpy()
    mean_taps, scale_taps = _taps(context, "mean"), _taps(context, "scale")
    mean_taps = [(p, lag, w * n[c]) for c, (p, lag, w) in enumerate(mean_taps)]
    mean_bias, scale_bias = _each_quality(context.mean_bias) * n, _each_quality(context.scale_bias)
    by_mean = np.minimum(_largest_scale(mean_taps, mean_bias, MEAN_LIMIT), 1 << MAX_SHIFT)
    shift = np.floor(np.log2(by_mean)).astype(np.int32)
    by_mean = np.exp2(shift)
    by_scale = np.minimum(_largest_scale(scale_taps, scale_bias, SCALE_LIMIT), MAX_SCALE)
    slope = float(context.slope)
    offset = _each_quality(context.offset) + np.log(n) - slope * np.log(by_scale)
    place = np.arange(LEVELS)
    logarithm = place // 16 + np.log2(1 + (place % 16 + 0.5) / 16)  # the middle of each step
    both = [*zip(mean_taps, by_mean, strict=True), *zip(scale_taps, by_scale, strict=True)]
    counts = np.array([len(taps[0]) for taps, _ in both], np.int32)
    return CausalPredictor(
        tap_counts=counts.reshape(2, -1),
        tap_planes=np.concatenate([taps[0] for taps, _ in both]).astype(np.int16),
        tap_lags=np.concatenate([taps[1] for taps, _ in both]).astype(np.int16),
        tap_weights=rounded(np.concatenate([taps[2] * by for taps, by in both]), np.int16),
        mean_shift=shift,
        mean_bias=rounded(mean_bias * by_mean, np.int32),
        scale_bias=rounded(scale_bias * by_scale, np.int32),
        scale_offset=rounded((offset / math.log(2) - math.log2(SMALLEST)) * STEPS_PER_OCTAVE, np.int32),
        scale_levels=rounded(slope * logarithm * STEPS_PER_OCTAVE, np.int32),
    )


def _taps(context: CausalContext, name: str) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Float]]:
    """Of each plane: planes, lags and weights, on integers that are not normalised, of the taps that are left."""
    own, others = (w.double().numpy() for w in context.taps(name))
    n = context.get_buffer("typical").double().numpy()
    found = []
    for c in range(len(n)):
        past = np.flatnonzero(own[c])
        p, frame = np.nonzero(others[c])
        planes = np.concatenate([np.full(len(past), c), p])
        lags = np.concatenate([context.past - past, OTHERS - 1 - frame])
        weights = np.concatenate([own[c, past] / n[c], others[c, p, frame] / n[p]])
        order = np.lexsort((planes, lags))
        found.append((planes[order], lags[order], weights[order]))
    return found


def _each_quality(table: torch.Tensor) -> Float:
    """[knots, C] to [100, C], linear between knots."""
    columns = table.detach().double().numpy().T
    return np.stack([np.interp(np.arange(1, ROWS + 1), KNOTS, column) for column in columns], axis=1)


def _largest_scale(taps: list[tuple[NDArray[np.int64], NDArray[np.int64], Float]], bias: Float, limit: int) -> Float:
    """[C] the largest factor that keeps a plane's weights in int16 and its sums below 2**24 with rounding."""
    reach = np.array([np.abs(w).sum() for _, _, w in taps]) * limit + np.abs(bias).max(0)
    largest = np.array([np.abs(w).max(initial=1e-9) for _, _, w in taps])
    entries = np.array([len(w) for _, _, w in taps])  # each may grow by a half when it is rounded
    return np.minimum((ROOM * EXACT - entries * limit / 2) / np.maximum(reach, 1e-9), 32767 / largest)
