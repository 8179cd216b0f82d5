# SPDX-License-Identifier: Apache-2.0
"""Thrift's compact protocol, as much of it as page headers of Parquet need."""

from typing import Any

from isthmus.errors import CorruptStreamError

MOST_DEPTH = 8
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
INTEGERS = (4, 5, 6)  # of 16, 32 and 64 bits: varints in zigzag


def read_struct(data: bytes, at: int = 0, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Fields by their numbers of the struct at `data[at:]`, and the place behind it. Raises CorruptStreamError."""
    try:
        return _struct(data, at, depth)
    except IndexError:
        raise CorruptStreamError("a page header ends before its last field") from None


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    if depth > MOST_DEPTH:
        raise CorruptStreamError(f"a page header of more than {MOST_DEPTH} structs within each other")
    found: dict[int, Any] = {}
    field = 0
    while True:
        head, at = data[at], at + 1
        if head == 0:
            return found, at
        delta, kind = divmod(head, 16)
        if delta:
            field += delta
        else:
            field, at = _integer(data, at)
        if kind in (TRUE, FALSE):
            found[field] = kind == TRUE
        else:
            found[field], at = _value(data, at, kind, depth)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in INTEGERS:
        return _integer(data, at)
    if kind in (BYTE, TRUE, FALSE):  # flags of lists take a byte each
        return data[at], at + 1
    if kind == DOUBLE:
        return data[at : at + 8], at + 8
    if kind == BINARY:
        length, at = _varint(data, at)
        return data[at : at + length], at + length
    if kind in (LIST, SET):
        count, inner = divmod(data[at], 16)
        at += 1
        if count == 15:
            count, at = _varint(data, at)
        if count > len(data):
            raise CorruptStreamError(f"a page header with a list of {count} values")
        values = []
        for _ in range(count):
            value, at = _value(data, at, inner, depth)
            values.append(value)
        return values, at
    if kind == STRUCT:
        return _struct(data, at, depth + 1)
    raise CorruptStreamError(f"a page header with a field of type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise CorruptStreamError("a page header with a number of more than 64 bits")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at
