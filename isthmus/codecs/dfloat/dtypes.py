# SPDX-License-Identifier: Apache-2.0
"""Names of dtypes as safetensors spells them, and their sizes; torch is not loaded for these."""

from math import prod
from typing import Any

import numpy as np

NAMED = {  # what torch calls them, and their bits
    "BF16": ("bfloat16", 16), "F16": ("float16", 16), "F32": ("float32", 32), "F64": ("float64", 64),
    "F8_E4M3": ("float8_e4m3fn", 8), "F8_E5M2": ("float8_e5m2", 8), "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8), "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I8": ("int8", 8), "I16": ("int16", 16), "I32": ("int32", 32), "I64": ("int64", 64),
    "U8": ("uint8", 8), "U16": ("uint16", 16), "U32": ("uint32", 32), "U64": ("uint64", 64),
    "BOOL": ("bool", 8), "C64": ("complex64", 64),
}  # fmt: skip
_BITS = {name: bits for name, (_, bits) in NAMED.items()} | {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
ITEM_BYTES = {name: bits // 8 for name, (_, bits) in NAMED.items()}
CODED = {  # dtypes of floats, and their bytes
    "BF16": 2, "F16": 2, "F32": 4,
    "F8_E4M3": 1, "F8_E5M2": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1, "F8_E8M0": 1,
}  # fmt: skip
UINT: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32)}


def size_of(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Bytes of a tensor, those of less than a byte a weight too; None for a dtype that is not known.

    Raises ValueError where weights of 4 or 6 bits do not end with a byte.
    """
    bits = prod(shape) * _BITS[dtype] if dtype in _BITS else None
    if bits is not None and bits % 8:
        raise ValueError(f"{dtype} {list(shape)} takes {bits} bits, expected whole bytes")
    return None if bits is None else bits // 8
