# SPDX-License-Identifier: Apache-2.0
"""From a trained linear context model to the integers of docs/format-context.md."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.entropy.models.context_predictor import EXACT, ROWS, ContextPredictor
from isthmus.entropy.models.integer_arrays import MAX_SHIFT
from isthmus.kernels.context.passes import SCALES
from isthmus.kernels.context.rows import MEAN_LIMIT, SCALE_LIMIT
from isthmus.kernels.context.sums import LEVELS
from isthmus.models.context import LinearContext

KNOTS = (1, 20, 40, 60, 80, 100)  # qualities that are trained; between two of them biases are interpolated
SMALLEST, LARGEST = 0.02, 80.0  # the scales of the first and the last table
STEPS_PER_OCTAVE = 16 * SCALES / math.log2(LARGEST / SMALLEST)
MAX_SCALE = 1 << 14  # of sums of residuals
ROOM = 0.98  # of the bound on sums, for rounding

Float = NDArray[np.float64]


@torch.no_grad()
def to_integers(context: LinearContext) -> ContextPredictor:
    """The integers of a model on the CPU; largest fixed-point scales that keep every sum exact."""
    n = context.get_buffer("typical").double().numpy()
    mean_own, mean_earlier = _weights(context, "mean", n)
    scale_own, scale_earlier = _weights(context, "scale", n)
    mean_own, mean_earlier = mean_own * n[:, None, None], mean_earlier * n[_pairs(len(n))[0], None]
    biases = (context.mean_bias, context.scale_bias, context.offset)
    mean_bias, scale_bias, offset = (each_quality(table.transpose(1, 2)) for table in biases)  # [100, C, 4]
    mean_bias = mean_bias * n[:, None]

    shift, by_mean = mean_scale(_largest_scale(mean_own, mean_earlier, mean_bias, MEAN_LIMIT))
    by_scale = np.minimum(_largest_scale(scale_own, scale_earlier, scale_bias, SCALE_LIMIT), MAX_SCALE)

    slope = float(context.slope)
    offset = offset + np.log(n)[:, None] - slope * np.log(by_scale)[:, None]
    outer = _pairs(len(n))[0]
    return ContextPredictor(
        mean_own=rounded(mean_own * by_mean[:, None, None], np.int16),
        mean_earlier=rounded(mean_earlier * by_mean[outer, None], np.int16),
        mean_shift=shift,
        mean_bias=rounded(mean_bias * by_mean[:, None], np.int32),
        scale_own=rounded(scale_own * by_scale[:, None, None], np.int16),
        scale_earlier=rounded(scale_earlier * by_scale[outer, None], np.int16),
        scale_bias=rounded(scale_bias * by_scale[:, None], np.int32),
        **scale_arrays(offset, slope),
    )


def _pairs(channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The later and the earlier channel of each pair, in the order of the format."""
    later, earlier = np.tril_indices(channels, -1)
    return later, earlier


def _weights(context: LinearContext, name: str, n: Float) -> tuple[Float, Float]:
    """Weights on neighbours that are not normalised: own [C, 4, 25], earlier [4, P, 9]."""
    own = (getattr(context, f"{name}_own") * context.own_mask).double().numpy()  # [4, C, 1, 5, 5]
    mask = context.get_buffer(f"{name}_mask")
    earlier = (getattr(context, f"{name}_earlier") * mask).double().numpy()  # [4, C, C, 3, 3]
    later, before = _pairs(len(n))
    pairs = earlier[:, later, before].reshape(4, len(later), 9) / n[before, None]
    return own.reshape(4, len(n), 25).transpose(1, 0, 2) / n[:, None, None], pairs


def each_quality(table: torch.Tensor) -> Float:
    """[knots, ...] to [100, ...], linear between knots."""
    rows = table.detach().double().numpy()
    every, flat = np.arange(1, ROWS + 1), rows.reshape(len(KNOTS), -1)
    return np.stack([np.interp(every, KNOTS, column) for column in flat.T], axis=1).reshape(-1, *rows.shape[1:])


def mean_scale(largest: Float) -> tuple[NDArray[np.int32], Float]:
    """Fractional bits of each channel's mean, [C], and the powers of two that they stand for, at most `largest`."""
    shift = np.floor(np.log2(np.minimum(largest, 1 << MAX_SHIFT))).astype(np.int32)
    return shift, np.exp2(shift)


def scale_arrays(offset: Float, slope: float) -> dict[str, NDArray[Any]]:
    """scale_offset and scale_levels of a log scale: offset, natural, plus slope times the logarithm of a sum."""
    place = np.arange(LEVELS)
    logarithm = place // 16 + np.log2(1 + (place % 16 + 0.5) / 16)  # the middle of each step
    return {
        "scale_offset": rounded((offset / math.log(2) - math.log2(SMALLEST)) * STEPS_PER_OCTAVE, np.int32),
        "scale_levels": rounded(slope * logarithm * STEPS_PER_OCTAVE, np.int32),
    }


def _largest_scale(own: Float, earlier: Float, bias: Float, limit: int) -> Float:
    """[C] the largest factor that keeps a channel's weights in int16 and its sums below 2**24 with rounding."""
    channels = len(own)
    later, _ = _pairs(channels)
    sums = np.abs(own).sum(2)  # [C, 4]
    np.add.at(sums, later, np.abs(earlier).sum(2).T)
    reach = (sums * limit + np.abs(bias).max(0)).max(1)
    largest = np.abs(own).max((1, 2))
    np.maximum.at(largest, later, np.abs(earlier).max((0, 2)))
    entries = 25 + 9 * np.arange(channels)  # each may grow by a half when it is rounded
    exact = (ROOM * EXACT - entries * limit / 2) / np.maximum(reach, 1e-9)
    return np.minimum(exact, 32767 / np.maximum(largest, 1e-9))


def rounded(values: NDArray[np.floating[Any]], dtype: type[np.signedinteger[Any]]) -> NDArray[Any]:
    limit = 32767 if dtype is np.int16 else EXACT
    return np.ascontiguousarray(np.clip(np.rint(values), -limit, limit), dtype)
