# SPDX-License-Identifier: Apache-2.0
"""Raw bits: the page, and bytes that are not exactly those of so many integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy.coders import bits
from isthmus.errors import CorruptStreamError


@settings(max_examples=150, deadline=None)
@given(width=st.integers(1, 32), data=st.data())
def test_the_page_and_the_round_trip(width: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=40))
    whole = sum(value << width * i for i, value in enumerate(values))
    payload = bits.encode(values, width)
    assert payload == whole.to_bytes(-(-len(values) * width // 8), "little")
    found = bits.decode(payload, width, len(values))
    assert found.dtype == np.uint32 and found.tolist() == values


@pytest.mark.parametrize("width", [1, 5, 16, 31, 32])
def test_many_in_blocks(width: int) -> None:
    values = np.random.default_rng(0).integers(0, 1 << width, (7, 10_001))
    payload = bits.encode(values.T, width)
    np.testing.assert_array_equal(bits.decode(payload, width, values.size), values.T.reshape(-1))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=9), width=st.integers(1, 32), count=st.integers(0, 20))
def test_any_bytes_are_their_one_spelling_or_an_error(data: bytes, width: int, count: int) -> None:
    try:
        found = bits.decode(data, width, count)
    except CorruptStreamError:
        return
    assert bits.encode(found, width) == data


def test_wrong_arguments() -> None:
    for width in (0, 33):
        with pytest.raises(ValueError, match="width"):
            bits.encode([0], width)
        with pytest.raises(ValueError, match="width"):
            bits.decode(b"", width, 0)
    for values in ([-1], [8]):
        with pytest.raises(ValueError, match=r"expected 0\.\.7"):
            bits.encode(values, 3)
    with pytest.raises(TypeError):
        bits.encode([0.5], 3)
    with pytest.raises(ValueError, match="-1 integers"):
        bits.decode(b"", 3, -1)
    with pytest.raises(CorruptStreamError, match="expected those of"):
        bits.decode(b"", 3, 1 << 60)
    with pytest.raises(CorruptStreamError, match="set bits follow"):
        bits.decode(b"\x08", 3, 1)
