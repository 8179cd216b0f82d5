# SPDX-License-Identifier: Apache-2.0
"""The example of docs/format-entropy.md, read from the page."""

import hashlib
import re
from pathlib import Path

import numpy as np

from isthmus.entropy import RansDecoder, TableFamily, decode, encode
from isthmus.kernels.rans import reference as rans_reference
from tests.entropy.random_tables import frequencies_of

PAGE = (Path(__file__).parents[2] / "docs" / "format-entropy.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)[0]


def hex_bytes(kind: str) -> bytes:
    return bytes.fromhex("".join(line.split(";")[0] for line in block(kind).splitlines()))


def page_tables() -> TableFamily:
    precision = int(re.findall(r"precision (\d+)", block("tables"))[0])
    rows = re.findall(r"low (-?\d+), frequencies ([\d ]+)", block("tables"))
    frequencies = [[int(f) for f in row.split()] for _, row in rows]
    return TableFamily(
        precision,
        [int(low) for low, _ in rows],
        [len(f) - 1 for f in frequencies],
        [f for row in frequencies for f in row],
    )


def page_symbols() -> tuple[list[int], list[int]]:
    first, second = block("symbols").splitlines()
    return [int(v) for v in first.split()[1:]], [int(v) for v in second.split()[1:]]


def test_the_payload() -> None:
    tables, (symbols, indices) = page_tables(), page_symbols()
    payload = hex_bytes("hex")
    assert encode(symbols, indices, tables, lanes=2) == payload
    assert decode(payload, indices, tables).tolist() == symbols


def test_the_hash() -> None:
    tables = page_tables()
    data = hex_bytes("hash")
    assert len(data) == 44 and f"with the hash `{tables.hash}`" in PAGE
    assert hashlib.sha256(data).hexdigest()[:8] == tables.hash


def test_the_steps() -> None:
    tables, (symbols, indices) = page_tables(), page_symbols()
    payload = hex_bytes("hex")
    states = np.frombuffer(payload[2:10], "<u4").tolist()
    words = np.frombuffer(payload[10:-3], "<u2").tolist()
    rows = re.findall(r"^\| (\d+ \|.*) \|$", PAGE, re.MULTILINE)
    position = 0
    for i, (row, k) in enumerate(zip(rows, indices, strict=True)):
        x = states[i % 2]
        [entry], position = rans_reference.decode(states, words, position, i, [frequencies_of(tables, k)], 12)
        f, c = (int(array[tables.starts[k] + entry]) for array in (tables.frequencies, tables.cumulative))
        after = f * (x >> 12) + x % 4096 - c
        value = f"escape, {symbols[i]}" if entry == tables.size[k] else str(symbols[i])
        expected = [i, i % 2, k, x, x >> 12, x % 4096, f, c, after, states[i % 2], value]
        assert row.split(" | ") == [str(v) for v in expected]
    assert states == [1 << 15] * 2 and position == len(words)


def test_a_reader_that_keeps_the_lanes_writes_the_same_bytes() -> None:
    tables, (_, indices) = page_tables(), page_symbols()
    decoder = RansDecoder(hex_bytes("hex"), tables)
    symbols = decoder.decode(indices)
    assert encode(symbols, indices, tables, lanes=decoder.lanes) == hex_bytes("hex")
