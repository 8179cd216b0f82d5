# SPDX-License-Identifier: Apache-2.0
"""Contexts along time (`context.2`): against the definition, round trips of every size, damage, and choices."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.models.causal_predictor import CausalPredictor
from isthmus.entropy.models.context_tables import ContextChoices
from isthmus.errors import CorruptStreamError
from isthmus.kernels.context import reference
from isthmus.kernels.context.passes import SCALES
from tests.entropy.models.random_causal import random_causal, random_causal_arrays


def random_frames(seed: int, channels: int, count: int, scale: float) -> NDArray[np.int16]:
    values = np.rint(np.random.default_rng(seed).laplace(0, scale, (channels, count)))
    return np.clip(values, -32768, 32767).astype(np.int16)


@settings(deadline=None)  # kernels are compiled
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(0, 40), st.sampled_from([0.3, 3.0, 400.0, 20000.0]))
def test_kernel_equals_definition(seed: int, channels: int, count: int, scale: float) -> None:
    model = random_causal(seed % 7, channels)
    planes = random_frames(seed, channels, count, scale)
    symbols, contexts = model.predictor.contexts(planes, 1 + seed % 100)
    found = reference.causal_contexts(model.predictor.to_arrays(), 1 + seed % 100, planes)
    k = contexts.T.reshape(-1)
    expected = [(d, min(max(s, -SCALES), 2 * SCALES), p) for d, s, p in found]
    assert list(zip(symbols.T.reshape(-1), (k >> 3) - SCALES, k >> 1 & 3, strict=True)) == expected


@settings(deadline=None)  # kernels are compiled
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(0, 60), st.sampled_from([0.3, 3.0, 400.0, 20000.0]))
def test_decode_is_the_inverse(seed: int, channels: int, count: int, scale: float) -> None:
    model = random_causal(seed % 5, channels)
    planes = random_frames(seed, channels, count, scale)
    payload = model.encode(planes, 50)
    again, choices = model.decode(payload, planes.shape, 50)
    assert np.array_equal(again, planes) and again.dtype == np.int16
    assert model.encode(again, 50, choices) == payload


def test_planes_of_any_layout() -> None:
    model, planes = random_causal(1, 6), random_frames(1, 12, 40, 2.0)
    view = planes[::2, ::-1]
    assert model.encode(view, 9) == model.encode(view.copy(), 9)


def test_other_number_of_planes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"planes \(5, 8\), expected \[6, T\]"):
        random_causal(1, 6).encode(np.zeros((5, 8), np.int16), 50)


def test_damage_is_refused_or_decodes_to_something() -> None:
    """Never a crash, never memory: what the bytes lose, `finish` mostly finds, and the container's checksum always."""
    model, planes = random_causal(2, 20), random_frames(2, 20, 50, 3.0)
    payload = model.encode(planes, 50)
    for size in range(0, len(payload), 7):
        with pytest.raises(CorruptStreamError):
            model.decode(payload[:size], planes.shape, 50)
    rng = np.random.default_rng(0)
    for _ in range(200):
        bad = bytearray(payload)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        with suppress(CorruptStreamError):
            model.decode(bytes(bad), planes.shape, 50)
    with pytest.raises(CorruptStreamError, match="cannot hold 20 x 1000000000 latents"):
        model.decode(payload, (20, 10**9), 50)


def test_image_offsets_beyond_six_are_refused() -> None:
    model, planes = random_causal(3, 4), random_frames(3, 4, 9, 1.0)
    payload = model.encode(planes, 50, ContextChoices(1, (0, 7, 0, 0)))
    with pytest.raises(CorruptStreamError, match="image offset is outside"):
        model.decode(payload, planes.shape, 50)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tap_lags", lambda a: a * 0, "not decoded yet"),
        ("tap_lags", lambda a: a + 16, "not decoded yet"),
        ("tap_planes", lambda a: a - 100, "not decoded yet"),
        ("tap_counts", lambda a: a + 1, "counts say otherwise"),
        ("tap_weights", lambda a: np.full_like(a, 32767), "limit is 2"),
        ("mean_shift", lambda a: a + 15, "fractional bits"),
        ("scale_levels", lambda a: a + (1 << 21), "goes beyond"),
        ("scale_offset", lambda a: a[:50], r"expected <class 'numpy.int32'>|expected int32"),
    ],
)
def test_models_that_no_page_allows(name: str, change: object, message: str) -> None:
    arrays = random_causal_arrays(0, 30)
    arrays[name] = np.asarray(change(arrays[name]), arrays[name].dtype)  # type: ignore[operator]
    with pytest.raises(CorruptStreamError, match=message):
        CausalPredictor(**arrays)


def test_arrays_there_and_back() -> None:
    model = random_causal(4, 5)
    assert CausalModel.from_arrays(model.to_arrays()).hash == model.hash
    assert random_causal(5, 5).hash != model.hash


def test_choice_without_worth_is_rounding() -> None:
    model = random_causal(6, 8)
    values = np.random.default_rng(6).laplace(0, 3, (8, 50)).astype(np.float32)
    ones = np.ones(8, np.float32)
    chosen = model.choose(values, ones, 50, 0.0)
    assert np.array_equal(chosen, np.rint(values))


def test_choice_saves_bits() -> None:
    model = random_causal(6, 8, 5.0)
    values = np.random.default_rng(6).laplace(0, 1, (8, 400)).astype(np.float32)
    ones = np.ones(8, np.float32)
    sizes = [len(model.encode(model.choose(values, ones, 50, worth), 50)) for worth in (0.0, 0.1, 0.3)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert np.abs(model.choose(values, ones, 50, 0.1) - values).max() < 1.5
