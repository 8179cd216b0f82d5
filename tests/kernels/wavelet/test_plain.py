# SPDX-License-Identifier: Apache-2.0
"""The plain twins of the wavelet kernels leave the same bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels.wavelet import image, linear, packets
from tests.kernels.tiers import both
from tests.kernels.wavelet.test_image import SIDES, picture, weights


def assert_same(work: Callable[[], Any]) -> None:
    plain, compiled = both(work)
    assert plain.dtype == compiled.dtype and plain.shape == compiled.shape and plain.tobytes() == compiled.tobytes()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99), channels=st.integers(1, 3), height=SIDES, width=SIDES, levels=st.integers(1, 4),
    gain=st.sampled_from([0.2, 20, 3e4]), strip=st.sampled_from([None, 1, 3]),
)  # fmt: skip
def test_images(seed: int, channels: int, height: int, width: int, levels: int, gain: float, strip: int | None) -> None:
    x = picture(channels, height, width, seed)
    bands = image.analyze_bands(x, levels)
    assert_same(lambda: image.analyze_bands(x, levels, strip_rows=strip))
    assert_same(lambda: image.synthesize_image(bands * 2, height, width, levels, channels=channels, strip_rows=strip))
    weight, bias, gains = weights(5, len(bands), seed)
    assert_same(lambda: image.analyze_quantized(x, weight, bias, gains * gain, levels=levels, strip_rows=strip))
    assert_same(lambda: linear.apply_linear(bands, weight, bias, gains))
    latent = image.analyze_quantized(x, weight, bias, gains * gain, levels=levels)
    back = np.ascontiguousarray(weight.T), bands[:, 0, 0].copy(), gains
    assert_same(lambda: image.synthesize_linear(latent, *back, height, width, levels, strip_rows=strip))


def test_damaged_bands_give_the_same_samples() -> None:
    bands = image.analyze_bands(picture(3, 40, 33), 3)
    bands[::5, 1, 2], bands[1::7, 3, 0], bands[3::9, 2, 2] = np.nan, np.inf, -3e38
    assert_same(lambda: image.synthesize_image(bands, 40, 33, 3))
    weight, bias, gains = weights(6, len(bands))
    plain, compiled = both(lambda: linear.apply_linear(bands, weight, bias, gains))
    assert np.array_equal(plain, compiled, equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99), size=st.one_of(st.tuples(st.integers(1, 40)), st.tuples(*[st.integers(1, 9)] * 2)),
    levels=st.integers(0, 4), mode=st.sampled_from(["symmetric", "periodization"]),
)  # fmt: skip
def test_packets(seed: int, size: tuple[int, ...], levels: int, mode: Any) -> None:
    x = np.random.default_rng(seed).normal(size=(2, *(n << levels for n in size))).astype(np.float32)
    assert_same(lambda: packets.analyze_packet(x, levels, mode))
    bands = packets.analyze_packet(x, levels, mode)
    assert_same(lambda: packets.synthesize_packet(bands, levels, mode))
