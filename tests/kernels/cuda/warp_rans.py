# SPDX-License-Identifier: Apache-2.0
"""What the CUDA kernels of rans.1 do, in numpy: arrays of 32 are one value for each lane of a warp."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isthmus.entropy import TableFamily
from isthmus.kernels.cuda.rans.device_image import Image, make_image, packed_slots
from isthmus.kernels.cuda.rans.status import BAD_ESCAPES, BAD_HEAD, BAD_TABLE, BAD_VALUE, BAD_WORDS, LEFT_OVER, OK

LANE = np.arange(32)
LOWER = 1 << 15
ROUNDS = 4
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


class Ring:
    """The words of a payload as 32 lanes take them: 256 in memory that is used again, 64 more on their way there."""

    def __init__(self, payload: bytes, begin: int, count: int) -> None:
        offset = begin % 4  # as if the payload began at a multiple of 4
        self._bytes, self._begin = payload + bytes(4), begin - offset
        self._shift, self._last = 8 * offset, (offset + 2 * count + 3) // 4 - 1
        self._ring = np.full(256, -1, np.int64)
        self.taken = self._loaded = 0
        self._fetch()
        self.refill()

    def _fetch(self) -> None:
        places = self._loaded // 2 + LANE
        self._next = [sum(self._aligned(i + k) << (32 * k) for k in (0, 1)) >> self._shift for i in places.tolist()]

    def _aligned(self, i: int) -> int:
        place = self._begin + 4 * min(i, self._last)
        assert 0 <= place < len(self._bytes) - 4
        return int.from_bytes(self._bytes[place : place + 4], "little")

    def refill(self) -> None:
        while self._loaded - self.taken < 128:
            first = self._loaded % 256
            for lane, pair in enumerate(self._next):
                self._ring[first + 2 * lane : first + 2 * lane + 2] = pair & 0xFFFF, pair >> 16 & 0xFFFF
            self._loaded += 64
            assert self._loaded - self.taken <= 256  # so what was overwritten had been taken
            self._fetch()

    def take(self, needed: np.ndarray) -> np.ndarray:
        takers = ballot(needed)
        words = self._ring[(self.taken + votes_before(takers)) % 256]
        self.taken += takers.bit_count()
        assert self.taken <= self._loaded
        return words


@dataclass(frozen=True)
class Lookup:
    """`find` of rans/decode.cu: in an image if there is one, else in a row for each slot."""

    family: TableFamily
    image: Image | None

    @cached_property
    def _packed(self) -> np.ndarray:
        return packed_slots(self.family)

    def find(self, table: np.ndarray, slot: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Frequency, place in the entry, value and whether it is the escape."""
        p, image = self.family.precision, self.image
        if image is None:
            row = self._packed[(table << p) + slot]
            low = (row & np.uint64(0xFFFFFFFF)).astype(np.int64)
            return low & 0x7FFF, low >> 16, to_int32((row >> np.uint64(32)).astype(np.int64)), low >> 15 & 1
        info = image.data[image.info_at : image.rows_at].view(np.uint32).astype(np.int64)
        rows = image.data[image.rows_at :].view(np.uint32).astype(np.int64)
        at = info[2 * table] + image.data[(table << (p - image.width)) + (slot >> image.width)]
        step = 1 << image.width >> 1
        while step:
            at = np.where(rows[at + step] >> 16 <= slot, at + step, at)
            step //= 2
        row = rows[at]
        return row & 0x7FFF, slot - (row >> 16), to_int32((info[2 * table + 1] + at) & 0xFFFFFFFF), row >> 15 & 1


def to_int32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint32).astype(np.int32).astype(np.int64)


def decode_chunk(
    payload: bytes, indices: np.ndarray, family: TableFamily, *, most: int = 1 << 18, bits: int = 32
) -> tuple[int, np.ndarray]:
    """The status and the symbols of `decode_chunk` in rans/decode.cu.

    most: bytes of an image of the tables; bits: of a symbol in the output.
    """
    n, precision, lookup = len(indices), family.precision, Lookup(family, make_image(family, most))
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
    mine = lanes > LANE
    x = np.full(32, LOWER, np.int64)
    x[:lanes] = np.frombuffer(payload, "<u4", lanes, begin)
    if ((x < LOWER) | (x >= LOWER << 16)).any():
        return BAD_HEAD, out
    word_count = (rest - escape_bytes) // 2
    ring = Ring(payload, begin + 4 * lanes, word_count)
    escapes = payload[len(payload) - escape_bytes :]
    escape_at, wrong = 0, False
    first, whole = 0, n - n % (ROUNDS * lanes)
    while first < n:
        rounds = ROUNDS if first < whole else 1
        escaped = []
        for k in range(rounds):
            i = first + k * lanes + LANE
            active = mine & (i < n)
            table = np.where(active, indices[np.minimum(i, n - 1)], 0).astype(np.int64)
            wrong |= bool((table >= len(family)).any())
            table = np.minimum(table, len(family) - 1)
            frequency, place, value, escape = lookup.find(table, x & ((1 << precision) - 1))
            following = frequency * (x >> precision) + place
            x = np.where(active, following, x)
            assert (x < 1 << 31).all()
            empty = active & (following < LOWER)
            x = np.where(empty, x << 16 | ring.take(empty), x)
            out[i[active]] = value[active]
            escaped += [(int(i[lane]), int(table[lane])) for lane in np.flatnonzero(active & (escape > 0))]
        ring.refill()
        if ring.taken > word_count:
            return BAD_WORDS, out
        for place, of in escaped:
            code = read_varint(escapes, escape_at, 28)
            if code is None:
                return BAD_ESCAPES, out
            escape_at, low, distance = code[1], int(family.low[of]), code[0] >> 1
            out[place] = low - 1 - distance if code[0] & 1 else low + int(family.size[of]) + distance
            if not -(1 << 31) <= out[place] < 1 << 31:
                return BAD_ESCAPES, out
            if not -(1 << (bits - 1)) <= out[place] < 1 << (bits - 1):
                return BAD_VALUE, out
        first += rounds * lanes
    if wrong:
        return BAD_TABLE, out
    closed = ring.taken == word_count and escape_at == escape_bytes and (x[mine] == LOWER).all()
    return (OK if closed else LEFT_OVER), out


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def encode_chunk(symbols: np.ndarray, indices: np.ndarray, family: TableFamily, lanes: int | None) -> bytes:
    """The payload that `encode_rans` and `write_rans` of rans/encode.cu make."""
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
