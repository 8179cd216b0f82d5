# SPDX-License-Identifier: Apache-2.0
"""A program, not a test: planes and bytes from anywhere through the context kernels; `test_context_bounds` runs it.

It is run compiled with checked bounds: an access outside an array is an IndexError here. Not as plain Python: vectors
and 32-bit shifts of the kernels exist compiled alone.
"""

import itertools

import numpy as np
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from isthmus.entropy.models.context_predictor import TILE
from isthmus.errors import CorruptStreamError
from isthmus.kernels.rans import symbols as rans_symbols
from tests.entropy.models.random_context import random_model, random_planes

SIZES = [*itertools.product(range(5), range(5)), (1, TILE + 1), (TILE + 2, 3), (40, 70)]


def guard() -> None:
    """An access outside an array does raise IndexError here."""
    try:
        rans_symbols.measure(np.array([9], np.uint16), np.zeros(3, np.int32), 1)
    except IndexError:
        return
    raise AssertionError("bounds are not checked")


if __name__ == "__main__":
    guard()
    model = random_model(1, 3)
    for number, (height, width) in enumerate(SIZES):
        for scale in (0.1, 30.0, 20000.0):
            planes = random_planes(number, 3, height, width, scale)
            payload = model.encode(planes, 1 + number)
            assert np.array_equal(model.decode(payload, planes.shape, 1 + number)[0], planes)

    @settings(max_examples=300, deadline=None, database=None)
    @seed(1)
    @given(st.binary(max_size=300), st.integers(0, len(payload) - 1), st.sampled_from(SIZES))
    def any_bytes(data: bytes, place: int, size: tuple[int, int]) -> None:
        for attempt in (data, payload[:place] + data + payload[place + len(data) :], b"\5" + data):
            try:
                model.decode(attempt, (3, *size), 50)
            except CorruptStreamError:
                continue

    any_bytes()
    print("whole")
