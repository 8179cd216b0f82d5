# SPDX-License-Identifier: Apache-2.0
"""The example of docs/format-dfloat.md, read from the page, and what its words promise."""

import re
from pathlib import Path

import numpy as np
import pytest

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat import payload as page
from isthmus.errors import CorruptStreamError

PAGE = (Path(__file__).parents[3] / "docs" / "format-dfloat.md").read_text(encoding="utf-8")


def example() -> bytes:
    block = re.findall(r"```hex\n(.*?)```", PAGE, re.DOTALL)[0]
    return bytes.fromhex("".join(line.split(";")[0] for line in block.splitlines()))


def weights() -> list[int]:
    return [int(word, 16) for word in re.findall(r"Six weights BF16, `([0-9a-f ]+)`", PAGE)[0].split()]


def test_the_payload() -> None:
    payload = page.read_payload(example())
    assert (payload.width, payload.count, payload.index) == (2, 6, None)
    assert [plane.coding for plane in payload.planes] == [page.HUFFMAN, page.RAW]
    assert payload.tables[0, 125:128].tolist() == [2, 1, 2]
    assert coding.decode(payload).tolist() == weights()
    assert coding.group_bits(payload).tolist() == [8]


def test_every_byte_of_it_matters() -> None:
    """But for the zeros between the parts."""
    whole = example()
    for place, byte in enumerate(whole):
        damaged = bytearray(whole)
        damaged[place] = byte ^ 0x10
        try:
            assert coding.decode(page.read_payload(bytes(damaged))).tolist() == weights()
        except CorruptStreamError:
            continue
        assert byte == 0 and place >= 68, place


@pytest.mark.parametrize("length", [*range(0, 112, 7), 111, 113, 128])
def test_other_lengths(length: int) -> None:
    with pytest.raises(CorruptStreamError, match="dfloat payload"):
        page.read_payload(example().ljust(length, b"\0")[:length])


def test_sizes_that_the_page_states() -> None:
    assert page.HEAD.itemsize == 32
    assert {coding: record.itemsize for coding, record in page.RECORD.items()} == {0: 8, 1: 20, 2: 12, 3: 12}
    assert page.CHUNK == {0: 1 << 16, 1: 1 << 16, 2: 1 << 18, 3: 1 << 18}


def test_the_unused_bytes_are_zero() -> None:
    weights = np.arange(70_000, dtype=np.uint32).astype(np.uint16)
    payload = page.read_payload(coding.encode(weights, index=True))
    assert len(payload.data) % page.ALIGN == 0
    assert not payload.data[-page.LOAD_ROOM :].any()
    for plane in payload.planes:
        assert plane.places[0] % page.ALIGN == 0
