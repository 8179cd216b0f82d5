# SPDX-License-Identifier: Apache-2.0
"""Symbols to the bytes that a server reads, with numpy and Python alone: this file is all that a device needs.

    packer = Packer("exported/")
    data = packer.pack(symbols, height, width, quality)

The same bytes as isthmus makes: docs/format.md, docs/format-entropy.md (`rans.1`), docs/format-walloc.md (`walloc.1`).
"""

import json
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
LOWER = 1 << 15
BIT = 1 << 16  # of costs
LANE = 512 * 8 * BIT  # of the cost of a lane at least, where there are several


class Packer:
    """Of one exported head. folder: with its head.json and tables.npz."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.about = json.loads((folder / "head.json").read_text())
        with np.load(folder / "tables.npz", allow_pickle=False) as tables:
            found = {name: tables[name].astype(np.int64) for name in tables.files}
        self.low, self.size, self.frequency = found["low"], found["size"], found["frequency"]
        self.costs, self.expected = found["costs"], found["expected"]
        self.starts = np.concatenate(([0], np.cumsum(self.size + 1)[:-1]))
        total = np.cumsum(self.frequency) - self.frequency
        self.cumulative = total - np.repeat(total[self.starts], self.size + 1)
        self.precision: int = self.about["precision"]
        self.tables = len(self.low) - 2  # for symbols; one for choices and one for offsets follow
        low, size = self.low[: self.tables], self.size[: self.tables]
        self.reach = int(max(-low.min(), (low + size).max(), 1))
        place = np.arange(-self.reach, self.reach + 1)[:, None] - low
        escaped = (place < 0) | (place >= size)
        self.value_costs = self.costs[self.starts[: self.tables] + np.where(escaped, size, place)] + escaped * 8 * BIT

    def pack(self, symbols: ArrayLike, height: int, width: int, quality: int, grey: bool = False) -> bytes:
        """Integers [c, ceil(height / 8), ceil(width / 8)] of a picture to one stream. Raises ValueError."""
        planes, about = np.asarray(symbols), self.about
        shape = (about["channels"], -(-height // about["factor"]), -(-width // about["factor"]))
        if planes.shape != shape or planes.dtype.kind not in "iu" or not 1 <= quality <= 100:
            raise ValueError(
                f"symbols {planes.dtype} {planes.shape}, quality {quality}; expected integers {shape}, quality 1 to 100"
            )
        name = about["codec_id"].encode()
        header = b"".join((
            bytes([len(name)]), name, bytes.fromhex(about["tables_hash"]), bytes.fromhex(about["weights_hash"]),
            bytes([1, 0x71 if grey else 0x73]), varint(height), varint(width), bytes([quality]),
        ))  # fmt: skip
        payload = self._payload(planes.reshape(shape[0], -1).astype(np.int64), quality)
        return b"\x89IST\x01" + chunk(b"H", header) + chunk(b"D", payload)

    def _payload(self, planes: Integers, quality: int) -> bytes:
        """The cheapest table of each plane and its rounded mean, then the planes, in one `rans.1`."""
        channels, area = planes.shape
        offsets = (2 * planes.sum(1) + area) // (2 * area)
        rest = planes - offsets[:, None]
        counted = rest.clip(-self.reach, self.reach) + self.reach
        histograms = np.array([np.bincount(row, minlength=2 * self.reach + 1) for row in counted])
        chosen = (histograms @ self.value_costs).argmin(1)
        values = np.concatenate((chosen - self.expected[quality - 1], offsets, rest.reshape(-1)))
        table = np.repeat(np.concatenate(([self.tables, self.tables + 1], chosen)), [channels] * 2 + [area] * channels)
        return self._rans(values, table)

    def _rans(self, values: Integers, table: Integers) -> bytes:
        """Integers, each with its table."""
        place = values - self.low[table]
        size = self.size[table]
        escaped = (place < 0) | (place >= size)
        varints = np.where(place < 0, -2 * place - 1, 2 * (place - size))[escaped]
        entries = self.starts[table] + np.where(escaped, size, place)
        cost, lanes = int(self.costs[entries].sum()), 1
        while lanes < 32 and cost >= 2 * lanes * LANE:
            lanes *= 2
        frequency, cumulative = self.frequency[entries].tolist(), self.cumulative[entries].tolist()
        states, shift, top = [LOWER] * lanes, self.precision, 31 - self.precision
        words: list[int] = []
        for i in range(len(entries) - 1, -1, -1):
            x, f = states[i % lanes], frequency[i]
            if x >= f << top:
                words.append(x & 0xFFFF)
                x >>= 16
            states[i % lanes] = (x // f << shift) + x % f + cumulative[i]
        escapes = b"".join(varint(value) for value in varints.tolist())
        return b"".join((
            bytes([lanes.bit_length() - 1]), varint(len(escapes)), np.array(states, "<u4").tobytes(),
            np.array(words[::-1], "<u2").tobytes(), escapes,
        ))  # fmt: skip


def varint(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Type, track 0, length, payload, CRC-32."""
    framed = kind + b"\0" + varint(len(payload)) + payload
    return framed + zlib.crc32(framed).to_bytes(4, "little")
