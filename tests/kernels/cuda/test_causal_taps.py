# SPDX-License-Identifier: Apache-2.0
"""Taps of contexts along time as the GPU gets them, 16 bits for the place and 16 for the weight."""

import numpy as np
import pytest

from isthmus.entropy.models.causal_predictor import MAX_CHANNELS
from isthmus.kernels.context.causal import LAGS
from isthmus.kernels.cuda.context.causal import DeviceCausal
from tests.entropy.models.random_causal import random_causal

MOST = (LAGS + 1) * MAX_CHANNELS - 1  # positions that a tap may look back


def uploaded(backs: list[int], weights: list[int], group: int) -> DeviceCausal:
    """One plane whose first two taps are of the mean, the others of the scale."""
    model = random_causal(1, 1)
    p = model.predictor
    begins, count = np.array([[0, 2], [0, len(backs) - 2]], np.int64), max(2, len(backs) - 2)
    both = np.zeros((2, 2, count), np.int32)
    for kind, part in enumerate((slice(0, 2), slice(2, None))):
        both[0, kind, : begins[kind, 1]], both[1, kind, : begins[kind, 1]] = backs[part], weights[part]
    arrays = begins, *both, p.mean_shift, p.scale_levels
    return DeviceCausal.upload(arrays, (p.mean_bias, p.scale_bias, p.scale_offset), 15, model.family, "cpu", group)


@pytest.mark.parametrize("group", [1, 4, 16, 32])
def test_the_furthest_and_heaviest_taps_keep_their_values(group: int) -> None:
    backs, weights = [MOST, 1, 0, MOST, 1], [-(1 << 15), -1, (1 << 15) - 1, 1, -300]
    there = uploaded(backs, weights, group)
    taps, planes = there.taps.numpy(), there.planes.numpy()
    first, second, end, _ = planes[0].tolist()
    assert (second - first) % group == (end - second) % group == 0
    kept = np.concatenate([taps[first : first + 2], taps[second : second + 3]])
    assert (kept >> 16).tolist() == backs and kept.astype(np.int16).tolist() == weights
    assert not taps[first + 2 : second].any() and not taps[second + 3 :].any()


def test_taps_that_do_not_fit_are_refused() -> None:
    assert MOST < 1 << 15
    for back, weight in ((1 << 15, 1), (-1, 1), (1, 1 << 15), (1, -(1 << 15) - 1)):
        with pytest.raises(ValueError, match="does not fit 16 bits"):
            uploaded([back, 1, 1], [weight, 1, 1], 8)
