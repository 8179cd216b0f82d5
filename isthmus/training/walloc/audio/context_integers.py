# SPDX-License-Identifier: Apache-2.0
"""From a trained context model along time to the integers of docs/format-context.md, `context.2`."""

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.entropy.models.causal_predictor import CausalPredictor
from isthmus.entropy.models.context_predictor import EXACT
from isthmus.kernels.context.rows import MEAN_LIMIT, SCALE_LIMIT
from isthmus.models.causal import OTHERS, CausalContext
from isthmus.training.walloc.context_integers import MAX_SCALE, ROOM, each_quality, mean_scale, rounded, scale_arrays

Float = NDArray[np.float64]


@torch.no_grad()
def to_integers(context: CausalContext) -> CausalPredictor:
    """The integers of a model on the CPU; largest fixed-point scales that keep every sum exact."""
    n = context.get_buffer("typical").double().numpy()
    mean_taps, scale_taps = _taps(context, "mean"), _taps(context, "scale")
    mean_taps = [(p, lag, w * n[c]) for c, (p, lag, w) in enumerate(mean_taps)]
    mean_bias, scale_bias = each_quality(context.mean_bias) * n, each_quality(context.scale_bias)
    shift, by_mean = mean_scale(_largest_scale(mean_taps, mean_bias, MEAN_LIMIT))
    by_scale = np.minimum(_largest_scale(scale_taps, scale_bias, SCALE_LIMIT), MAX_SCALE)
    slope = float(context.slope)
    offset = each_quality(context.offset) + np.log(n) - slope * np.log(by_scale)
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
        **scale_arrays(offset, slope),
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


def _largest_scale(taps: list[tuple[NDArray[np.int64], NDArray[np.int64], Float]], bias: Float, limit: int) -> Float:
    """[C] the largest factor that keeps a plane's weights in int16 and its sums below 2**24 with rounding."""
    reach = np.array([np.abs(w).sum() for _, _, w in taps]) * limit + np.abs(bias).max(0)
    largest = np.array([np.abs(w).max(initial=1e-9) for _, _, w in taps])
    entries = np.array([len(w) for _, _, w in taps])  # each may grow by a half when it is rounded
    return np.minimum((ROOM * EXACT - entries * limit / 2) / np.maximum(reach, 1e-9), 32767 / largest)
