# SPDX-License-Identifier: Apache-2.0
"""The wavelet packet transform: against PyWavelets, the kernel against its reference, inversion, locality."""

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels.wavelet import packets
from isthmus.kernels.wavelet import reference as wavelet_reference
from isthmus.kernels.wavelet.packets import ANALYSIS_HALO, SYNTHESIS_HALO

MODES = ["symmetric", "periodization"]
LENGTHS = st.integers(1, 21)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def pywt_packet(x: np.ndarray, levels: int) -> np.ndarray:
    """One level of PyWavelets on every channel, again and again."""
    for _ in range(levels):
        if x.ndim == 2:
            bands = pywt.dwt(x, "bior4.4", mode="periodization")
        else:
            low, details = pywt.dwt2(x, "bior4.4", mode="periodization")
            bands = (low, *details)
        x = np.stack(bands, axis=1).reshape(-1, *bands[0].shape[1:])
    return x


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
@pytest.mark.parametrize("height,width", [(1, 1), (1, 4), (3, 2), (5, 9)])
def test_periodization_equals_pywavelets(levels: int, height: int, width: int) -> None:
    x = noise(3, height << levels, width << levels)
    bands = packets.analyze_packet(x, levels, "periodization")
    assert bands.shape == (3 * 4**levels, height, width)
    np.testing.assert_allclose(bands, pywt_packet(x.astype(np.float64), levels), atol=1e-5)


@pytest.mark.parametrize("levels,length", [(1, 2), (3, 8), (3, 24), (8, 256), (8, 2048)])
def test_periodization_equals_pywavelets_in_one_dimension(levels: int, length: int) -> None:
    x = noise(2, length)
    bands = packets.analyze_packet(x, levels, "periodization")
    np.testing.assert_allclose(bands, pywt_packet(x.astype(np.float64), levels), atol=2e-5)


def test_symmetric_mode_equals_pywavelets_away_from_the_border() -> None:
    x = noise(1, 128, 160)
    bands = packets.analyze_packet(x, 3)
    inner = (slice(None), slice(4, -3), slice(4, -3))
    np.testing.assert_allclose(bands[inner], pywt_packet(x.astype(np.float64), 3)[inner], atol=1e-5)


def test_symmetric_mode_is_whole_sample_symmetric() -> None:
    """One level on a signal equals one level on the signal continued by its mirror image about the end samples."""
    x = noise(1, 32)
    mirrored = np.pad(x, ((0, 0), (8, 8)), mode="reflect")
    expected = pywt_packet(mirrored.astype(np.float64), 1)[:, 4:-4]
    np.testing.assert_allclose(packets.analyze_packet(x, 1), expected, atol=1e-6)


@pytest.mark.parametrize("axes", [1, 2])
def test_dc_gain_is_the_square_root_of_two_a_level_and_axis(axes: int) -> None:
    bands = packets.analyze_packet(np.ones((1, *(32,) * axes), np.float32), 3)
    np.testing.assert_allclose(bands[0], 2 ** (1.5 * axes), rtol=1e-6)
    np.testing.assert_allclose(bands[1:], 0, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, LENGTHS, st.integers(0, 3), st.integers(1, 3), st.sampled_from(MODES), st.integers(0, 99))
def test_kernel_equals_the_reference_bit_for_bit(
    height: int, width: int, levels: int, channels: int, mode: wavelet_reference.Mode, seed: int
) -> None:
    x = noise(channels, height << levels, width << levels, seed=seed)
    for signal in (x, x[:, 0]):
        bands = wavelet_reference.analyze_packet(signal, levels, mode, 3.0)
        assert bands.dtype == np.float32
        assert np.array_equal(bands, packets.analyze_packet(signal, levels, mode, 3.0))
        back = wavelet_reference.synthesize_packet(bands, levels, mode, 1 / 3)
        assert np.array_equal(back, packets.synthesize_packet(bands, levels, mode, 1 / 3))
        np.testing.assert_allclose(back, signal, atol=2e-5)


@pytest.mark.parametrize("shape", [(3, 512, 768), (1, 8, 4104), (2, 1 << 20)])
def test_kernel_equals_the_reference_at_sizes_beyond_its_blocks(shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    levels = 3 if len(shape) == 3 else 8
    bands = wavelet_reference.analyze_packet(x, levels)
    assert np.array_equal(bands, packets.analyze_packet(x, levels))
    back = packets.synthesize_packet(bands, levels)
    assert np.array_equal(wavelet_reference.synthesize_packet(bands, levels), back)
    np.testing.assert_allclose(back, x, atol=5e-5)


def test_any_strides_give_the_same_bits() -> None:
    x = noise(24, 40, 6)
    views = (x.transpose(2, 0, 1), x.transpose(2, 1, 0)[:, ::-1, ::-1], np.repeat(x, 2, axis=0)[::2].transpose(2, 0, 1))
    for view in views:
        bands = packets.analyze_packet(view, 3)
        assert np.array_equal(bands, wavelet_reference.analyze_packet(np.ascontiguousarray(view), 3))
        flipped = bands[:, ::-1, ::-1]
        expected = wavelet_reference.synthesize_packet(np.ascontiguousarray(flipped), 3)
        assert np.array_equal(packets.synthesize_packet(flipped, 3), expected)
    assert np.array_equal(x, noise(24, 40, 6)), "the input must not be written"


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_reach_of_one_sample_and_of_one_band_position_is_the_halo(levels: int) -> None:
    groups = 24
    x = noise(1, groups << levels)
    bands = packets.analyze_packet(x, levels)
    for inside in (0, (1 << levels) - 1):
        changed = x.copy()
        changed[0, (12 << levels) + inside] += 1
        differs = np.flatnonzero((packets.analyze_packet(changed, levels) != bands).any(axis=0))
        assert 12 - ANALYSIS_HALO[1] <= differs.min() and differs.max() <= 12 + ANALYSIS_HALO[0]
    changed = bands.copy()
    changed[:, 12] += 1
    same = packets.synthesize_packet(changed, levels) == packets.synthesize_packet(bands, levels)
    touched = np.flatnonzero(~same[0]) >> levels
    assert 12 - SYNTHESIS_HALO[1] <= touched.min() and touched.max() <= 12 + SYNTHESIS_HALO[0]


@pytest.mark.parametrize("module", [wavelet_reference, packets])
def test_wrong_arguments_are_refused(module: object) -> None:
    analyze, synthesize = module.analyze_packet, module.synthesize_packet  # type: ignore[attr-defined]
    for shape in ((1, 8, 12), (1, 12), (8,), (1, 1, 8, 8), (1, 0, 8), (0, 8)):
        with pytest.raises(ValueError, match="expected"):
            analyze(np.zeros(shape, np.float32), 3)
    with pytest.raises(ValueError, match="expected a multiple of 64"):
        synthesize(np.zeros((65, 2, 2), np.float32), 3)
    with pytest.raises(ValueError, match="zero"):
        analyze(np.zeros((1, 8, 8), np.float32), 3, "zero")
    with pytest.raises(ValueError, match="levels"):
        analyze(np.zeros((1, 8, 8), np.float32), -1)
