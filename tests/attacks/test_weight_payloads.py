# SPDX-License-Identifier: Apache-2.0
"""Payloads of weights whose heads, tables and streams lie while every checksum is right."""

import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat import payload as page
from isthmus.errors import CorruptStreamError


def normal(count: int) -> np.ndarray:
    """bf16 patterns, uint16 [count]."""
    return (np.random.default_rng(0).normal(0, 0.02, count).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def payload_with(data: np.ndarray, **changes: Any) -> np.ndarray:
    """A payload whose head is changed and then given the right checksum."""
    parsed = page.read_payload(data)
    head = data.copy()
    for name, value in changes.items():
        head[: page.HEAD.itemsize].view(page.HEAD)[name] = value
    tables = int(data[: page.HEAD.itemsize].view(page.HEAD)["table_bytes"][0])
    end = page.HEAD.itemsize + tables + sum(plane.records.nbytes for plane in parsed.planes)
    head[end : end + 4] = np.frombuffer(zlib.crc32(head[:end].tobytes()).to_bytes(4, "little"), np.uint8)
    return head


def test_heads_that_lie_with_a_right_checksum() -> None:
    data = coding.encode(normal(70_000), index=True)
    assert page.read_payload(payload_with(data)).count == 70_000
    for changes in (
        {"width": 3}, {"width": 0}, {"width": 4}, {"width": 1}, {"flags": 2}, {"flags": 0}, {"tables": 0},
        {"tables": 2},
        {"tables": 65535}, {"count": 0}, {"count": 69_999}, {"count": 1 << 40}, {"count": (1 << 64) - 1},
        {"codings": [1, 1, 0, 0]}, {"codings": [2, 0, 0, 0]}, {"codings": [3, 3, 0, 0]}, {"codings": [3, 0, 0, 0]},
        {"codings": [9, 0, 0, 0]}, {"codings": [1, 0, 1, 0]}, {"table_bytes": 0}, {"table_bytes": (1 << 32) - 1},
        {"length": 0}, {"length": len(data) + 16}, {"magic": b"DFL2"},
    ):  # fmt: skip
        with pytest.raises(CorruptStreamError):
            coding.decode(page.read_payload(payload_with(data, **changes)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_streams_that_lie_with_right_checks(data: st.DataObject) -> None:
    """Records, tables and streams changed at will, every checksum made right: an error or weights, never more."""
    count, mode = data.draw(st.sampled_from([300, 70_000])), data.draw(st.sampled_from(coding.MODES))
    payload = coding.encode(normal(count), mode=mode).copy()
    plane = page.read_payload(payload).planes[0]
    tables = int(payload[: page.HEAD.itemsize].view(page.HEAD)["table_bytes"][0])
    body = range(int(plane.places[0]), int(plane.places[-1]))
    front = range(page.HEAD.itemsize, page.HEAD.itemsize + tables + plane.records.nbytes)
    for _ in range(data.draw(st.integers(1, 4))):
        span = data.draw(st.sampled_from([body, front]))
        payload[data.draw(st.integers(span.start, span.stop - 1))] = data.draw(st.integers(0, 255))
    begin = page.HEAD.itemsize + tables
    records = payload[begin : begin + plane.records.nbytes].view(plane.records.dtype)
    for record, (first, last) in zip(records, zip(plane.places, plane.places[1:], strict=False), strict=True):
        record["a"], record["b"] = page.check(payload[first:last])
    try:
        parsed = page.read_payload(payload_with_checksum(payload, begin + plane.records.nbytes, count))
        assert len(coding.decode(parsed)) == count
    except CorruptStreamError as error:
        assert str(error)


def payload_with_checksum(payload: np.ndarray, begin: int, count: int) -> np.ndarray:
    """The checksum behind the records of plane 1, which begin at `begin`."""
    codings = payload[16:20]
    end = begin + page.chunks_of(count, int(codings[1])) * page.RECORD[int(codings[1])].itemsize
    payload[end : end + 4] = np.frombuffer(zlib.crc32(payload[:end].tobytes()).to_bytes(4, "little"), np.uint8)
    return payload


def test_claims_take_no_memory() -> None:
    """Counts that the bytes cannot hold are refused before anything is made for them."""
    data = coding.encode(np.zeros(1000, np.uint16))
    tracemalloc.start()
    for changes in ({"count": 1 << 40}, {"table_bytes": 1 << 31}, {"tables": 65_535}):
        with pytest.raises(CorruptStreamError):
            page.read_payload(payload_with(data, **changes))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
