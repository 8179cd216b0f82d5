# SPDX-License-Identifier: Apache-2.0
"""What the CUDA kernels of rans.1 do, in numpy: arrays of 32 are one value for each lane of a warp."""

import numpy as np

from isthmus.entropy import TableFamily
from isthmus.kernels.cuda.device_tables import packed_slots
from isthmus.kernels.cuda.status import BAD_ESCAPES, BAD_HEAD, BAD_TABLE, BAD_WORDS, LEFT_OVER, OK

LANE = np.arange(32)
LOWER = 1 << 15
LANE_COST = 512 * 8 << 16


def ballot(votes: np.ndarray) -> int:
    return int((votes.astype(np.uint64) << LANE.astype(np.uint64)).sum())


def votes_before(votes: int) -> np.ndarray:
    """For each lane the number of lanes before it that voted, as a ballot and a count of bits give it."""
    return np.array([(votes & ((1 << lane) - 1)).bit_count() for lane in range(32)])


def read_varint(data: bytes, at: int, last_bits: int) -> tuple[int, int] | None:
    found = 0
    for bits in range(0, last_bits + 1, 7):
        if at >= len(data):
            return None
        byte = data[at]
        at += 1
        found |= (byte & 127) << bits
        if byte < 128:
            return (found, at) if byte or not bits else None
    return None


def decode_chunk(payload: bytes, indices: np.ndarray, family: TableFamily) -> tuple[int, np.ndarray]:
    """The status and the symbols of `decode_chunk` in rans_decode.cu."""
    n, precision, packed = len(indices), family.precision, packed_slots(family)
    out = np.zeros(n, np.int64)
    if n == 0:
        return (LEFT_OVER if payload else OK), out
    if len(payload) < 2 or payload[0] > 5:
        return BAD_HEAD, out
    lanes = 1 << payload[0]
    head = read_varint(payload, 1, 56)
    if head is None:
        return BAD_HEAD, out
    escape_bytes, begin = head
    rest = len(payload) - begin - 4 * lanes
    if rest < 0 or escape_bytes > rest or (rest - escape_bytes) % 2:
        return BAD_HEAD, out
    x = np.full(32, LOWER, np.int64)
    x[:lanes] = np.frombuffer(payload, "<u4", lanes, begin)
    if ((x < LOWER) | (x >= LOWER << 16)).any():
        return BAD_HEAD, out
    words = np.frombuffer(payload, "<u2", (rest - escape_bytes) // 2, begin + 4 * lanes)
    escapes = payload[len(payload) - escape_bytes :]
    at = escape_at = 0
    for first in range(0, n, lanes):
        i = first + LANE
        active = (lanes > LANE) & (i < n)
        table = np.where(active, indices[np.minimum(i, n - 1)], 0).astype(np.int64)
        if (table >= len(family)).any():
            return BAD_TABLE, out
        row = np.where(active, packed[(table << precision) + (x & ((1 << precision) - 1))], 0).astype(np.uint64)
        low = (row & np.uint64(0xFFFFFFFF)).astype(np.int64)
        x = np.where(active, (low & 0x7FFF) * (x >> precision) + (low >> 16), x)
        assert (x < 1 << 31).all()
        empty = active & (x < LOWER)
        takers = ballot(empty)
        if takers.bit_count() > len(words) - at:
            return BAD_WORDS, out
        x[empty] = x[empty] << 16 | words[(at + votes_before(takers))[empty]]
        at += takers.bit_count()

        value = (row >> np.uint64(32)).astype(np.uint32).astype(np.int32).astype(np.int64)
        for lane in np.flatnonzero(active & (low & LOWER > 0)):
            code = read_varint(escapes, escape_at, 28)
            if code is None:
                return BAD_ESCAPES, out
            escape_at = code[1]
            distance = code[0] >> 1
            value[lane] += -int(family.size[table[lane]]) - 1 - distance if code[0] & 1 else distance
            if not -(1 << 31) <= value[lane] < 1 << 31:
                return BAD_ESCAPES, out
        out[i[active]] = value[active]
    closed = at == len(words) and escape_at == escape_bytes and (x == LOWER).all()
    return (OK if closed else LEFT_OVER), out


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def encode_chunk(symbols: np.ndarray, indices: np.ndarray, family: TableFamily, lanes: int | None) -> bytes:
    """The payload that `encode_rans` and `write_rans` of rans_encode.cu make."""
    n = len(symbols)
    if n == 0:
        return b""
    table = indices.astype(np.int64)
    low, size = family.low[table].astype(np.int64), family.size[table].astype(np.int64)
    place = (symbols.astype(np.int64) - low) % (1 << 32)
    apart = symbols.astype(np.int64) - low
    escaped = place >= size
    entries = family.starts[table] + np.where(escaped, size, place)
    codes = np.where(apart >= 0, 2 * (apart - size), 2 * (-1 - apart) + 1)[escaped]
    varints = b"".join(varint(int(code)) for code in codes)
    if lanes is None:
        cost, lanes = int(family.costs[entries].astype(np.int64).sum()), 1
        while lanes < 32 and cost >= 2 * lanes * LANE_COST:
            lanes *= 2

    words, x, at = np.zeros(n, np.uint16), np.full(32, LOWER, np.uint64), n
    for first in range((n - 1) // lanes * lanes, -1, -lanes):
        i = first + LANE
        active = (lanes > LANE) & (i < n)
        rows = family.encoder_rows.reshape(-1, 4)[entries[np.minimum(i, n - 1)]].astype(np.uint64)
        full = active & (x >= rows[:, 0] << np.uint64(31 - family.precision))
        givers = ballot(full)
        at -= givers.bit_count()
        words[(at + votes_before(givers))[full]] = x[full] & np.uint64(0xFFFF)
        x = np.where(full, x >> np.uint64(16), x)
        quotient = (x * rows[:, 2]) >> rows[:, 3]
        pushed = x + rows[:, 1] + quotient * (np.uint64(1 << family.precision) - rows[:, 0])
        x = np.where(active, pushed, x)
    head = bytes([lanes.bit_length() - 1]) + varint(len(varints))
    return head + x[:lanes].astype("<u4").tobytes() + words[at:].astype("<u2").tobytes() + varints
