# SPDX-License-Identifier: Apache-2.0
"""Tensors to payloads and back, chunk by chunk on threads (docs/format-dfloat.md)."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus.codecs.dfloat_payload import Payload

Mode = Literal["huffman", "rans"]
UINT = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def encode(
    weights: NDArray[Any], *, mode: Mode = "huffman", threads: int = 1, index: bool = False
) -> NDArray[np.uint8]:
    """Weights as uint8, uint16 or uint32 of any shape (the bit patterns, in C order) to a payload, uint8 [L].

    mode: "huffman" decodes fastest, "rans" is smallest. index: store where each 64 weights begin, if it fits.
    The bytes do not depend on `threads`. Raises TypeError for other dtypes, ValueError for other modes.
    """
    raise NotImplementedError


def decode(payload: Payload, *, out: NDArray[Any] | None = None, threads: int = 1) -> NDArray[Any]:
    """The inverse of `encode`: uint8, uint16 or uint32 [count], written to `out` if it is given.

    Raises CorruptStreamError where a body is damaged, ValueError for an `out` of another dtype or length.
    """
    raise NotImplementedError


def group_bits(payload: Payload, *, threads: int = 1) -> NDArray[np.uint16]:
    """Bits of each group of 64 weights in plane 0, chunk after chunk: uint16 [ceil(count / 64)].

    Read from the payload's index, or found by decoding. Raises CorruptStreamError where a body is damaged, ValueError
    when plane 0 is not Huffman.
    """
    raise NotImplementedError
