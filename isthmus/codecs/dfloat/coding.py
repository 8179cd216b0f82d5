# SPDX-License-Identifier: Apache-2.0
"""Weights to payloads and back, in memory, on threads (docs/format-dfloat.md)."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus.codecs.dfloat.decoder import NEIGHBOURS, RUN, Decoder
from isthmus.codecs.dfloat.dtypes import UINT
from isthmus.codecs.dfloat.encoder import Encoder
from isthmus.codecs.dfloat.payload import CHUNK, GROUP, HUFFMAN, Payload, unpack_index
from isthmus.kernels import threads as pool
from isthmus.kernels.huffman import encode as huffman_encode

Mode = Literal["huffman", "rans"]
MODES: tuple[Mode, ...] = ("huffman", "rans")


def encode(
    weights: NDArray[Any], *, mode: Mode = "huffman", threads: int = 1, index: bool = False
) -> NDArray[np.uint8]:
    """Weights, uint8, uint16 or uint32 of any shape (bit patterns, in C order), to a payload, uint8 [L].

    mode: "huffman" decodes fastest, "rans" is smallest. index: store where each 64 weights begin, if it fits.
    The bytes do not depend on `threads`. Raises TypeError for other dtypes, ValueError for other modes.

    >>> weights = np.random.default_rng(0).normal(0, 0.02, 100_000).astype(np.float32).view(np.uint32) >> 16
    >>> len(encode(weights.astype(np.uint16))) / 200_000 < 0.67
    True
    """
    return write(plan(weights, mode=mode, threads=threads, index=index), threads)


def write(encoder: Encoder, threads: int = 1) -> NDArray[np.uint8]:
    """The second of the two passes of `encode`."""
    out = np.empty(encoder.length, np.uint8)

    def work(run: int) -> None:
        encoder.write(run, [out[begin:end] for begin, end in encoder.spans(range(run, run + 1))])

    pool.run(work, range(encoder.runs), threads, neighbours=NEIGHBOURS)
    for place, part in encoder.fixed():
        out[place : place + len(part)] = np.frombuffer(part, np.uint8)
    return out


def plan(
    weights: NDArray[Any],
    *,
    mode: Mode = "huffman",
    threads: int = 1,
    index: bool = False,
    base: NDArray[Any] | None = None,
) -> Encoder:
    """The first of the two passes of `encode`, for those who write the payload part by part.

    base: weights of the same dtype and number; the payload is then that of weights XOR base.
    """
    if weights.dtype not in UINT.values():
        raise TypeError(f"dfloat: weights of dtype {weights.dtype}, expected bit patterns: uint8, uint16 or uint32")
    if mode not in MODES:
        raise ValueError(f"dfloat: mode {mode!r}, expected 'huffman' or 'rans'")
    return Encoder(np.ascontiguousarray(weights).reshape(-1), mode, threads, index, base)


def decode(payload: Payload, *, out: NDArray[Any] | None = None, threads: int = 1) -> NDArray[Any]:
    """The inverse of `encode`: uint8, uint16 or uint32 [count], written to `out` if it is given.

    Raises CorruptStreamError where a body is damaged (then `out` is not whole), ValueError for an `out` of another
    dtype or length.

    >>> from isthmus.codecs.dfloat.payload import read_payload
    >>> weights = np.arange(5, dtype=np.uint16)
    >>> decode(read_payload(encode(weights)))
    array([0, 1, 2, 3, 4], dtype=uint16)
    """
    dtype = UINT[payload.width]
    weights = np.empty(payload.count, dtype) if out is None else out
    if weights.dtype != dtype or weights.shape != (payload.count,) or not weights.flags.c_contiguous:
        raise ValueError(f"dfloat: `out` is {weights.dtype} {weights.shape}, expected {dtype} ({payload.count},)")
    decoder = Decoder(payload)

    def work(run: int) -> None:
        decoder.decode(run, weights[run * RUN : (run + 1) * RUN])

    pool.run(work, range(decoder.runs), threads, neighbours=NEIGHBOURS)
    return weights


def group_bits(payload: Payload, *, threads: int = 1) -> NDArray[np.uint16]:
    """Bits of each group of 64 weights in plane 0, chunk after chunk: uint16 [ceil(count / 64)].

    Read from the payload's index, or found by decoding. Raises CorruptStreamError where a body is damaged, ValueError
    when plane 0 is not Huffman.
    """
    plane = payload.planes[0]
    if plane.coding != HUFFMAN:
        raise ValueError("dfloat: plane 0 of this payload is not Huffman, so its groups have no bits")
    if payload.index is not None:
        return unpack_index(payload)
    bits, decoder = np.empty(-(-payload.count // GROUP), np.uint16), Decoder(payload)
    chunk = CHUNK[HUFFMAN]

    def work(run: int) -> None:
        symbols = np.empty(min(RUN, payload.count - run * RUN), np.uint8)
        decoder.plane(0, run, symbols)
        for begin in range(0, len(symbols), chunk):
            part = symbols[begin : begin + chunk]
            place = run * RUN + begin
            lengths = payload.tables[plane.records["table"][place // chunk]]
            huffman_encode.group_bits(part, lengths, bits[place // GROUP :][: -(-len(part) // GROUP)])

    pool.run(work, range(decoder.runs), threads)
    return bits
