# SPDX-License-Identifier: Apache-2.0
"""Levels of noise: groups, what is measured, what is coded, and noise of that level."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isthmus.models.walloc.noise import (
    LOOKED_AT,
    NOISE_FRAMES,
    SHARE,
    SILENT,
    level_differences,
    levels_of,
    measure_noise,
    noise_count,
    noise_deviation,
    noise_widths,
)


def test_groups_cover_all_bands() -> None:
    for bands in (1, 2, 16, 256, 1000):
        widths = noise_widths(bands)
        assert sum(widths) == bands and widths[0] == 1 and widths[:-1] == sorted(widths[:-1])
    assert len(noise_widths(256)) == 34


@given(st.integers(1, 40), st.integers(0, 6), st.integers(0, 2**32))
def test_differences_are_undone(groups: int, count: int, seed: int) -> None:
    levels = np.random.default_rng(seed).integers(0, SILENT + 1, (2 * groups, count)).astype(np.int16)
    coded = level_differences(levels)
    assert np.array_equal(levels_of(coded), levels) and coded.dtype == np.int16
    assert not level_differences(np.concatenate([levels[:groups]] * 2))[groups:].any()  # one channel as two


def test_levels_are_those_of_noise() -> None:
    """Within half a step and what 16 frames of a single band scatter."""
    rng = np.random.default_rng(0)
    for frames in (1, 63, 64, 256, 257):
        missed = 10**-2.0 * rng.standard_normal((2 * 256, -(-frames // LOOKED_AT))).astype(np.float32)
        levels = measure_noise(missed, frames, 2)
        assert levels.shape == (68, noise_count(frames)) and levels.dtype == np.int16
        wide = levels.reshape(2, 34, -1)[:, 20:]
        assert np.abs(wide - (40 + 5.5) / 4).max() < 3 if frames > 60 else True
    assert (measure_noise(np.zeros((512, 64), np.float32), 256, 2) == SILENT).all()
    assert noise_count(0) == 0 and noise_count(NOISE_FRAMES * 2 + 5) == 2


def test_deviations() -> None:
    levels = np.array([[0, SILENT], [10, 5]], np.int16)
    found = noise_deviation(levels, 2 * NOISE_FRAMES + 3, 1)
    assert found.shape == (2, 2 * NOISE_FRAMES + 3)
    assert np.allclose(found[0, [0, NOISE_FRAMES, -1]], [SHARE**0.5, 0, 0])
    assert np.allclose(found[1, [0, -1]] ** 2, [SHARE * 1e-4, SHARE * 1e-2])
    assert noise_deviation(np.zeros((2, 0), np.int16), 5, 1).shape == (2, 5)
