# SPDX-License-Identifier: Apache-2.0
"""Sample rates changed: lengths, blocks of any size, parts, the kernel against its definition, tones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels import tier
from isthmus.kernels.resample import polyphase, reference
from isthmus.kernels.resample.filters import phase_filters, ratio
from isthmus.kernels.resample.resampler import Resampler, mirrored, resample, resampled_length

RATES = st.sampled_from([(8000, 48000), (48000, 8000), (22050, 44100), (32000, 48000), (48000, 32000), (44100, 44100)])


@settings(deadline=None, max_examples=60)
@given(RATES, st.integers(0, 900), st.lists(st.integers(0, 300), max_size=9), st.integers(0, 2**32))
def test_blocks_do_not_matter(rates: tuple[int, int], count: int, cuts: list[int], seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, count)).astype(np.float32)
    whole = resample(x, *rates)
    assert whole.shape == (2, resampled_length(count, *rates)) and whole.dtype == np.float32
    resampler, parts, at = Resampler(*rates, 2), [], 0
    for size in [*cuts, count]:
        parts.append(resampler.push(x[:, at : at + size]))
        at += size
    assert np.array_equal(np.concatenate([*parts, resampler.finish()], 1), whole)


@settings(deadline=None, max_examples=40)
@given(RATES, st.integers(0, 400), st.integers(1, 200), st.integers(0, 2**32))
def test_a_part_is_that_of_the_whole(rates: tuple[int, int], first: int, count: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((1, 3000)).astype(np.float32)
    whole = resample(x, *rates)
    last = min(first + count, whole.shape[1])
    if first >= last:
        return
    low, high = Resampler.needs(*rates, first, last)
    low = max(0, low)
    resampler = Resampler(*rates, 1, begin=low, first=first)
    part = np.concatenate([resampler.push(x[:, low:high]), resampler.finish(last)], 1)[:, : last - first]
    if high <= 3000 or rates[0] == rates[1]:
        assert np.array_equal(part, whole[:, first:last])


@pytest.mark.parametrize(("before", "after"), [(8000, 48000), (96000, 48000), (12345, 48000)])
def test_the_kernel_is_its_definition(before: int, after: int) -> None:
    rng = np.random.default_rng(0)
    taps, (_, q) = phase_filters(before, after), ratio(before, after)
    source = rng.standard_normal((2, 3 * taps.shape[1])).astype(np.float32)
    found, expected = (np.empty((2, 50), np.float32) for _ in range(2))
    first = taps.shape[1] * after // before
    polyphase.apply_phases(source, 0, taps, q, first, found)
    reference.apply_phases(source, 0, taps, q, first, expected)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("before", "after"), [(8000, 48000), (48000, 8000), (44100, 48000), (192000, 48000)])
def test_tones_pass(before: int, after: int) -> None:
    """Up to nine tenths of the lower Nyquist frequency; 100 dB below nothing else is left."""
    for share in (0.01, 0.3, 0.45):
        frequency = share * min(before, after)
        tone = np.sin(2 * np.pi * frequency / before * np.arange(before // 4))[None].astype(np.float32)
        expected = np.sin(2 * np.pi * frequency / after * np.arange(after // 4))
        with tier.kernels_only():
            found = resample(tone, before, after)[0]
        inside = slice(after // 20, -after // 20)
        assert np.abs(found[inside] - expected[inside]).max() < 1e-4


def test_mirrored() -> None:
    assert mirrored(-3, 6, 3).tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1]
    assert mirrored(-2, 2, 1).tolist() == [0, 0, 0, 0]
