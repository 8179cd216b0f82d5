# SPDX-License-Identifier: Apache-2.0
"""Payloads of `dfloat.1` as a device decodes them: the streams of plane 0 with their index, other planes as bytes."""

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.decoder import RUN, Decoder
from isthmus.codecs.dfloat.payload import CHUNK, GROUP, HUFFMAN, STREAMS, Payload, read_payload
from isthmus.kernels import threads as pool
from isthmus.kernels.huffman.streams import HuffmanStreams


def streams_of(payload: Payload, *, threads: int = 1) -> HuffmanStreams:
    """Plane 0 on the CPU, checked. Raises CorruptStreamError for damage, ValueError where plane 0 is not Huffman."""
    bits = coding.group_bits(payload, threads=threads)
    plane = payload.planes[0]
    records = plane.records
    used, chosen = np.unique(records["table"], return_inverse=True)
    sizes = records["streams"].astype(np.int64)
    places = plane.places[:-1, None] - plane.places[0] + np.cumsum(sizes, axis=1) - sizes
    body = payload.data[plane.places[0] : plane.places[-1]]
    groups = _groups(payload.count)
    return HuffmanStreams.build(
        payload.count, body, places.reshape(-1), groups, bits, payload.tables[used], chosen.astype(np.uint16)
    )


def _groups(count: int) -> NDArray[np.int64]:
    """int64 [4 chunks]: groups of each stream."""
    chunk = CHUNK[HUFFMAN]
    sizes = np.full(-(-count // chunk), chunk)
    if len(sizes):
        sizes[-1] -= len(sizes) * chunk - count
    groups, each = -(-sizes // GROUP), -(-sizes // (STREAMS * GROUP))
    return np.clip(groups[:, None] - each[:, None] * np.arange(STREAMS), 0, each[:, None]).reshape(-1)


def plane_bytes(payload: Payload, number: int, *, threads: int = 1) -> torch.Tensor:
    """A plane, checked and decoded: uint8 [count] on the CPU. Raises CorruptStreamError for damage."""
    out, decoder = np.empty(payload.count, np.uint8), Decoder(payload)
    pool.run(lambda run: decoder.plane(number, run, out[run * RUN : (run + 1) * RUN]), range(decoder.runs), threads)
    return torch.from_numpy(out)


def with_huffman(payload: Payload, *, threads: int = 1) -> Payload:
    """The same weights with plane 0 in Huffman codes: as it is, or coded anew."""
    if payload.planes[0].coding == HUFFMAN:
        return payload
    return read_payload(coding.encode(coding.decode(payload, threads=threads), threads=threads))
