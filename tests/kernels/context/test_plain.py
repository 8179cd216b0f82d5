# SPDX-License-Identifier: Apache-2.0
"""The plain twins of the context kernels: the same payloads, latents and refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.entropy.models.context import ContextModel
from tests.entropy.models.random_context import random_model, random_planes
from tests.kernels.rans.test_plain import damaged
from tests.kernels.tiers import both, plainly

SCALE = st.sampled_from([0.0, 0.2, 5.0, 300.0, 20000.0])


def assert_same(model: ContextModel, planes: Any, row: int) -> None:
    plain, compiled = both(lambda: [(t.symbols, t.contexts) for t in model.predictor.contexts(planes, row)])
    for ours, theirs in zip(plain, compiled, strict=True):
        assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    plain, compiled = both(lambda: model.encode(planes, row))
    assert plain == compiled
    for found, choices in both(lambda: model.decode(plain, planes.shape, row)):
        assert np.array_equal(found, planes) and model.encode(planes, row, choices) == plain


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31), channels=st.integers(1, 5), height=st.integers(1, 12), width=st.integers(1, 12),
    scale=SCALE, row=st.sampled_from([1, 50, 100]), size=st.sampled_from([0.3, 60.0, 100.0]),
)  # fmt: skip
def test_any_model(seed: int, channels: int, height: int, width: int, scale: float, row: int, size: float) -> None:
    assert_same(random_model(seed, channels, size), random_planes(seed, channels, height, width, scale), row)


@pytest.mark.parametrize("shape", [(1, 129), (130, 3), (131, 129)])
def test_tiles(shape: tuple[int, int]) -> None:
    """One buffer after another of neighbours: nothing of the tile before is seen."""
    assert_same(random_model(2, 3), random_planes(2, 3, *shape, 3.0), 50)


def test_models_that_ship(shipped: WallocImageCodec) -> None:
    model = shipped.weights.context
    assert model is not None
    for scale in (0.4, 4000.0):
        assert_same(model, random_planes(1, model.predictor.channels, 9, 14, scale), 50)


def test_tiers_share_what_a_thread_keeps() -> None:
    model, planes = random_model(3, 4), random_planes(3, 4, 7, 6, 9.0)
    with plainly():
        payload = model.encode(planes, 9)
    for _ in range(2):
        assert both(lambda: model.encode(planes, 9)) == (payload, payload)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 9), scale=SCALE)
def test_damaged_payloads(data: st.DataObject, seed: int, scale: float) -> None:
    model, planes = random_model(seed, 2), random_planes(seed, 2, 6, 7, scale)
    bad = data.draw(damaged(model.encode(planes, 50)))
    plain, compiled = both(lambda: model.decode(bad, planes.shape, 50))
    if isinstance(plain[0], type):
        assert plain[0] == compiled[0]
    else:
        assert np.array_equal(plain[0], compiled[0]) and plain[1] == compiled[1]
