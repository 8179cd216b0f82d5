# SPDX-License-Identifier: Apache-2.0
"""The payload of one tensor as it lies in memory (docs/format-dfloat.md): its head read and checked, its bodies not."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.tables import huffman
from isthmus.errors import CorruptStreamError
from isthmus.kernels.checksums import check
from isthmus.kernels.native.read_only import read_only

MAGIC = b"DFL1"
RAW, HUFFMAN, RANS, WIDE = 0, 1, 2, 3
CODINGS = ("raw", "huffman", "rans", "wide")
WIDTHS = (1, 2, 4)
CHUNK = {RAW: 1 << 16, HUFFMAN: 1 << 16, RANS: 1 << 18, WIDE: 1 << 18}  # weights
STREAMS, GROUP = 4, 64
ALIGN = 16
LOAD_ROOM = 8  # zero bytes behind the last body, at least
MAX_COUNT = 1 << 40
INDEXED = 1  # flag
HEAD = np.dtype(
    [("magic", "S4"), ("width", "u1"), ("flags", "u1"), ("tables", "<u2"), ("count", "<u8"), ("codings", "u1", 4),
     ("table_bytes", "<u4"), ("length", "<u8")]
)  # fmt: skip
CHECKS = [("a", "<u4"), ("b", "<u4")]
RECORD = {
    RAW: np.dtype(CHECKS),
    HUFFMAN: np.dtype([("table", "<u2"), ("zero", "<u2"), ("streams", "<u2", STREAMS), *CHECKS]),
    RANS: np.dtype([("bytes", "<u4"), *CHECKS]),
}
RECORD[WIDE] = RECORD[RANS]


def align(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


@dataclass(frozen=True)
class Plane:
    """One plane of a payload.

    coding: RAW, HUFFMAN, RANS or WIDE. records: structured array [chunks], `RECORD[coding]`. places: int64
    [chunks + 1], where each chunk's body begins in the payload, and where the last ends; stream s of a Huffman chunk
    begins the sum of records["streams"][:s] behind its chunk.
    """

    coding: int
    records: NDArray[np.void]
    places: NDArray[np.int64]


@dataclass(frozen=True)
class Payload:
    """A tensor's payload, its head valid, its bodies unread.

    data: uint8 [L], of which everything else says what is where. width: bytes a weight. count: weights. tables: uint8
    [K, 256], the code length of each symbol, `huffman.ABSENT` without a code. planes: one for each byte of a weight.
    index: place of the index in `data`, or None.
    """

    data: NDArray[np.uint8]
    width: int
    count: int
    tables: NDArray[np.uint8]
    planes: tuple[Plane, ...]
    index: int | None


def chunks_of(count: int, coding: int) -> int:
    """Number of chunks of so many weights."""
    return -(-count // CHUNK[coding])


def index_bytes(count: int) -> int:
    """Bytes of the index with its check."""
    return 2 * chunks_of(count, HUFFMAN) + -(-count // GROUP) + 8


def read_payload(data: bytes | memoryview | NDArray[np.uint8]) -> Payload:
    """The head of a payload, checked; nothing is copied, the bodies are not touched.

    Raises CorruptStreamError for bytes that are no whole payload or whose head is damaged.
    """
    array = read_only(data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8))
    if len(array) < HEAD.itemsize or array[:4].tobytes() != MAGIC:
        raise CorruptStreamError(f"dfloat payload: {len(array)} bytes that do not begin with {MAGIC!r}")
    head = array[: HEAD.itemsize].view(HEAD)[0]
    width, count, codings = int(head["width"]), int(head["count"]), [int(c) for c in head["codings"]]
    flags, table_bytes, length = int(head["flags"]), int(head["table_bytes"]), int(head["length"])
    if width not in WIDTHS or count > MAX_COUNT or flags > INDEXED or max(codings) > WIDE or any(codings[width:]):
        raise CorruptStreamError(
            f"dfloat payload: {count} weights of {width} bytes, codings {codings}, flags {flags}: not of this format"
        )
    if WIDE in codings and (codings[:2] != [WIDE, WIDE] or WIDE in codings[2:]):
        raise CorruptStreamError("dfloat payload: planes 0 and 1 can only be wide together; fetch the file again")
    if flags & INDEXED and codings[0] != HUFFMAN:
        raise CorruptStreamError("dfloat payload: an index without a Huffman plane 0; fetch the file again")
    if length != len(array):
        raise CorruptStreamError(f"dfloat payload: it should have {length} bytes, {len(array)} are there; it is cut")
    records = [chunks_of(count, c) * RECORD[c].itemsize for c in codings[:width]]
    end = HEAD.itemsize + table_bytes + sum(records)
    if end + 4 > length:
        raise CorruptStreamError(f"dfloat payload: {length} bytes cannot hold {count} weights; fetch the file again")
    told = int(array[end : end + 4].view("<u4")[0])
    if zlib.crc32(array[:end].data) != told:
        raise CorruptStreamError("dfloat payload: the checksum of its head is wrong: it is damaged, fetch it again")
    return _locate(array, width, count, codings, flags, int(head["tables"]), table_bytes, end + 4)


def _locate(
    array: NDArray[np.uint8], width: int, count: int, codings: list[int], flags: int, tables: int, size: int, end: int
) -> Payload:
    """Tables, records and the places of the bodies behind a head whose checksum is right."""
    at = HEAD.itemsize + size
    lengths = huffman.unpack(array[HEAD.itemsize : at].data, tables)
    planes: list[Plane] = []
    place = align(end)
    for coding in codings[:width]:
        chunks = chunks_of(count, coding)
        stop = at + chunks * RECORD[coding].itemsize
        records = array[at:stop].view(RECORD[coding])
        if coding == HUFFMAN and chunks and (int(records["table"].max()) >= tables or records["zero"].any()):
            raise CorruptStreamError("dfloat payload: a chunk names a table that is not there; fetch the file again")
        places = places_of(place, coding, records, count)
        if coding == WIDE and planes and (np.diff(places) != _packed_sizes(count)).any():
            raise CorruptStreamError("dfloat payload: a wide chunk has not six bits a weight; fetch the file again")
        planes.append(Plane(coding, records, places))
        at, place = stop, align(int(places[-1]))
        last = int(places[-1])
    index = None
    if flags & INDEXED:
        index = place
        last = index + index_bytes(count)
    if align(last + LOAD_ROOM) != len(array):
        raise CorruptStreamError(
            f"dfloat payload: its bodies end at byte {last} of {len(array)}; the file is damaged, fetch it again"
        )
    return Payload(array, width, count, lengths, tuple(planes), index)


def places_of(first: int, coding: int, records: NDArray[np.void], count: int) -> NDArray[np.int64]:
    """Where the body of each chunk begins, from `first` on, and where the last ends: int64 [chunks + 1]."""
    if coding in (RANS, WIDE):
        sizes = records["bytes"].astype(np.int64)
    elif coding == HUFFMAN:
        sizes = records["streams"].astype(np.int64).sum(axis=1)
    else:
        sizes = np.full(len(records), CHUNK[RAW], np.int64)
        sizes[-1:] = count - CHUNK[RAW] * (len(records) - 1)
    return first + np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))


def _packed_sizes(count: int) -> NDArray[np.int64]:
    sizes = np.full(chunks_of(count, WIDE), packed_bytes(CHUNK[WIDE]), np.int64)
    sizes[-1:] = packed_bytes(count - CHUNK[WIDE] * (len(sizes) - 1))
    return sizes


def packed_bytes(count: int) -> int:
    """Bytes of so many integers of six bits."""
    return (6 * count + 7) // 8


def pack_index(bits: NDArray[np.uint16]) -> bytes | None:
    """The index of groups that take so many bits, uint16 [groups]; None where a difference needs more than a byte."""
    per_chunk = CHUNK[HUFFMAN] // GROUP
    starts = np.arange(0, len(bits), per_chunk)
    least = np.minimum.reduceat(bits, starts)
    above = bits - np.repeat(least, per_chunk)[: len(bits)]
    if above.max() > 255:
        return None
    body = least.astype("<u2").tobytes() + above.astype(np.uint8).tobytes()
    a, b = check(np.frombuffer(body, np.uint8))
    return body + int(a).to_bytes(4, "little") + int(b).to_bytes(4, "little")


def unpack_index(payload: Payload) -> NDArray[np.uint16]:
    """Bits of each group, uint16 [groups], from a payload that has an index. Raises CorruptStreamError."""
    assert payload.index is not None
    chunks, groups = chunks_of(payload.count, HUFFMAN), -(-payload.count // GROUP)
    body = payload.data[payload.index : payload.index + index_bytes(payload.count)]
    told = body[-8:].copy().view("<u4")
    if tuple(check(body[:-8])) != (told[0], told[1]):
        raise CorruptStreamError("dfloat payload: the check of its index is wrong: it is damaged, fetch it again")
    least = body[: 2 * chunks].copy().view("<u2").astype(np.uint16)
    return np.repeat(least, CHUNK[HUFFMAN] // GROUP)[:groups] + body[2 * chunks : -8]
