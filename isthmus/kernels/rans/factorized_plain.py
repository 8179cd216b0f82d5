# SPDX-License-Identifier: Apache-2.0
"""The kernels of `factorized` in numpy and Python, for `tier`: the same choices, payloads, values and statuses."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import CorruptStreamError
from isthmus.kernels.rans import batch, plain
from isthmus.kernels.rans.factorized import MOST_OFFSET
from isthmus.kernels.rans.lanes import WORD_PADDING
from isthmus.kernels.rans.reference import LOWER
from isthmus.varint import pack_varint, unpack_varint

UInt8: TypeAlias = NDArray[np.uint8]
Int16: TypeAlias = NDArray[np.int16]
Int32: TypeAlias = NDArray[np.int32]
Int64: TypeAlias = NDArray[np.int64]

VALUE = 3e-8  # seconds that a value takes to choose a table for


def choose(planes: Int16, costs: Int64, tables: Int32, offsets: Int32) -> int:
    """As `factorized.choose`."""
    reach, area = len(costs) >> 1, planes.shape[1]
    offsets[:] = (2 * planes.sum(axis=1, dtype=np.int64) + area) // (2 * area)
    places = (planes - offsets[:, None]).clip(-reach, reach) + reach
    low = int(places.min())
    histograms = np.array([np.bincount(row - low, minlength=int(places.max()) + 1 - low) for row in places])
    sums = histograms @ costs[low : low + histograms.shape[1]]
    tables[:] = sums.argmin(axis=1)
    return int(sums.min(axis=1).sum())


def encode_planes(
    planes: Int16, usual: Int32, scales: int, family: plain.Family, costs: Int32,
    rows: NDArray[np.uint32], precision: int, cost_per_lane: int, tables: Int32,
    offsets: Int32, lanes: Int64, out: UInt8, bounds: Int64,
) -> None:  # fmt: skip
    """As `factorized.encode_planes`."""
    _, channels, area = planes.shape
    for i, item in enumerate(planes):
        symbols = np.concatenate((tables[i] - usual[i], offsets[i], (item - offsets[i, :, None]).reshape(-1)))
        index = np.repeat(np.append([scales, scales + 1], tables[i]), [channels] * 2 + [area] * channels)
        entries, _, rest = plain.find_entries(symbols, index, family)
        cost = int(costs[entries].sum(dtype=np.int64))
        count = int(lanes[i]) or batch.choose_lanes(cost, cost_per_lane)
        states, words = np.full(count, LOWER, np.uint32), np.empty(len(entries), np.uint16)
        at = plain.encode(entries, 0, rows, precision, states, words, len(words))
        escapes = plain.write_varints(rest.tolist())
        head = bytes([count.bit_length() - 1]) + pack_varint(len(escapes))
        payload = b"".join((head, states.astype("<u4").data, words[at:].astype("<u2").data, escapes))
        bounds[i + 1] = bounds[i] + len(payload)
        out[bounds[i] : bounds[i + 1]] = np.frombuffer(payload, np.uint8)


def _open(part: UInt8) -> tuple[NDArray[np.uint32], NDArray[np.uint16], UInt8] | None:
    """States, words with their padding, and escapes of a payload; None for a head that `batch.open_payload` refuses."""
    if len(part) < 2 or part[0] > batch.MOST_LANES_LOG2:
        return None
    try:
        escapes, begin = unpack_varint(part.tobytes(), 1)
    except CorruptStreamError:
        return None
    middle, end = begin + (4 << int(part[0])), len(part) - escapes
    if end < middle or (end - middle) % 2:
        return None
    states = part[begin:middle].copy().view("<u4")
    if (states < batch.LOWER).any() or (states >= batch.UPPER).any():
        return None
    words = np.zeros((end - middle) // 2 + WORD_PADDING, np.uint16)
    words[:-WORD_PADDING] = part[middle:end].copy().view("<u2")
    return states, words, part[end:]


def _decode(
    part: UInt8, usual: Int32, scales: int, lookups: Any, planes: Int16,
    chosen: Int32, offsets: Int32,
) -> tuple[int, int]:  # fmt: skip
    """Status and lanes of one item."""
    payload = _open(part)
    if payload is None:
        return batch.BAD_HEAD, 0
    states, words, escapes = payload
    channels, area = planes.shape
    values = np.empty(area, np.int32)
    first = at = escape_at = 0
    for k in range(-2, channels):
        out = (chosen, offsets)[k] if k < 0 else values
        run = np.array([scales + 2 + k if k < 0 else chosen[k]], np.uint16)
        at, escape_at = plain.decode(run, 0, first, lookups, states, words, escapes, at, escape_at, out)
        if at < 0 or escape_at < 0:
            return batch.BAD_WORDS if at < 0 else batch.BAD_ESCAPES, 0
        first += len(out)
        if k == -1:
            table = chosen.astype(np.int64) + usual
            if (table < 0).any() or (table >= scales).any() or (np.abs(offsets.astype(np.int64)) > MOST_OFFSET).any():
                return batch.BAD_CHOICE, 0
            chosen[:] = table
        elif k >= 0:
            found = values.astype(np.int64) + offsets[k]
            planes[k] = found
            if (planes[k] != found).any():
                return batch.BAD_VALUE, 0
    closed = at == len(words) - WORD_PADDING and escape_at == len(escapes) and (states == LOWER).all()
    return batch.OK if closed else batch.LEFT_OVER, len(states)


def decode_planes(
    data: UInt8, bounds: Int64, usual: Int32, scales: int, lookups: Any,
    planes: Int16, chosen: Int32, offsets: Int32, lanes: Int64,
    status: UInt8,
) -> None:  # fmt: skip
    """As `factorized.decode_planes`."""
    for i in range(len(planes)):
        part = data[bounds[i] : bounds[i + 1]]
        status[i], lanes[i] = _decode(part, usual[i], scales, lookups, planes[i], chosen[i], offsets[i])
        if status[i] != batch.OK:
            return
