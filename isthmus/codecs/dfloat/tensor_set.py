# SPDX-License-Identifier: Apache-2.0
"""The data unit of codec `dfloat.1`: a set of named tensors (docs/format-dfloat.md, "In the isthmus container")."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat.dtypes import CODED, ITEM_BYTES
from isthmus.codecs.dfloat.payload import MAX_COUNT, Payload, read_payload
from isthmus.codecs.dfloat.tensors import TORCH
from isthmus.errors import CorruptStreamError
from isthmus.varint import pack_varint, unpack_varint

NAME_LIMIT, DIMENSIONS = 1 << 16, 16
RAW, CODED_PAYLOAD = 0, 1


@dataclass(frozen=True)
class Entry:
    """A tensor of the set. dtype: as safetensors spells it. alone: it is a tensor by itself, not one of a dict."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    alone: bool = False


def pack_set(entries: Sequence[Entry], bodies: Sequence[tuple[int, Bytes]]) -> bytes:
    """The data unit of tensors, each with its storage and bytes."""
    parts = [bytes([0 if entries and entries[0].alone else 1]), pack_varint(len(entries))]
    for entry, (storage, body) in zip(entries, bodies, strict=True):
        for text in (entry.name.encode(), entry.dtype.encode()):
            parts += [pack_varint(len(text)), text]
        parts += [bytes([len(entry.shape)]), *map(pack_varint, entry.shape)]
        parts += [bytes([storage]), pack_varint(len(body))]
    return b"".join((*parts, *(body.tobytes() for _, body in bodies)))


def unpack_set(unit: memoryview) -> list[tuple[Entry, Bytes | Payload]]:
    """The inverse of `pack_set`: raw bytes, or payloads whose heads are checked. Raises CorruptStreamError."""
    if len(unit) == 0 or unit[0] > 1:
        raise CorruptStreamError("dfloat: the data unit does not begin with 0 or 1; fetch the stream again")
    count, at = unpack_varint(unit, 1)
    if unit[0] == 0 and count != 1:
        raise CorruptStreamError(f"dfloat: a tensor by itself, but {count} are listed; fetch the stream again")
    listed: list[tuple[Entry, int, int]] = []
    for _ in range(count):
        entry, storage, size, at = _unpack_entry(unit, at)
        listed.append((entry, storage, size))
    if len({entry.name for entry, _, _ in listed}) != count:
        raise CorruptStreamError("dfloat: two tensors have the same name; fetch the stream again")
    if at + sum(size for _, _, size in listed) != len(unit):
        raise CorruptStreamError("dfloat: the tensors do not take the bytes that are there; fetch the stream again")
    found: list[tuple[Entry, Bytes | Payload]] = []
    for entry, storage, size in listed:
        body = np.frombuffer(unit[at : at + size], np.uint8)
        found.append((entry, _checked(entry, body) if storage else body))
        at += size
    return found


def _unpack_entry(unit: memoryview, at: int) -> tuple[Entry, int, int, int]:
    """An entry, its storage, its bytes, and the place behind it."""
    texts = []
    for what, limit in (("name", NAME_LIMIT), ("dtype", 16)):
        length, at = unpack_varint(unit, at, limit)
        if length > len(unit) - at:
            raise CorruptStreamError(f"dfloat: a tensor's {what} is cut; fetch the stream again")
        try:
            texts.append(bytes(unit[at : at + length]).decode())
        except UnicodeDecodeError:
            raise CorruptStreamError(f"dfloat: a tensor's {what} is not UTF-8; fetch the stream again") from None
        at += length
    name, dtype = texts
    shape = []
    if at >= len(unit) or unit[at] > DIMENSIONS:
        raise CorruptStreamError(f"dfloat: tensor {name!r} is cut or has more than {DIMENSIONS} dimensions")
    dimensions, at = unit[at], at + 1
    for _ in range(dimensions):
        size, at = unpack_varint(unit, at, MAX_COUNT)
        shape.append(size)
    if at >= len(unit) or unit[at] > CODED_PAYLOAD or dtype not in TORCH:
        raise CorruptStreamError(f"dfloat: tensor {name!r} is cut, or its dtype {dtype!r} or storage is not known")
    storage, at = unit[at], at + 1
    size, at = unpack_varint(unit, at)
    if storage == RAW and size != prod(shape) * ITEM_BYTES[dtype]:
        raise CorruptStreamError(f"dfloat: tensor {name!r} has {size} bytes, which are not {dtype} {shape}")
    return Entry(name, dtype, tuple(shape), unit[0] == 0), storage, size, at


def _checked(entry: Entry, body: Bytes) -> Payload:
    payload = read_payload(body)
    if payload.width != CODED.get(entry.dtype) or payload.count != prod(entry.shape):
        raise CorruptStreamError(
            f"dfloat: the payload of tensor {entry.name!r} has {payload.count} weights of {payload.width} bytes, "
            f"expected {entry.dtype} {list(entry.shape)}"
        )
    return payload
