# SPDX-License-Identifier: Apache-2.0
"""Names of dtypes as safetensors spells them, and tensors as bit patterns."""

from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_NAMED = {  # what torch calls them, and their bits
    "BF16": ("bfloat16", 16), "F16": ("float16", 16), "F32": ("float32", 32), "F64": ("float64", 64),
    "F8_E4M3": ("float8_e4m3fn", 8), "F8_E5M2": ("float8_e5m2", 8), "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8), "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I8": ("int8", 8), "I16": ("int16", 16), "I32": ("int32", 32), "I64": ("int64", 64),
    "U8": ("uint8", 8), "U16": ("uint16", 16), "U32": ("uint32", 32), "U64": ("uint64", 64),
    "BOOL": ("bool", 8), "C64": ("complex64", 64),
}  # fmt: skip
PAIRS = {"F4": "float4_e2m1fn_x2"}  # two weights a byte: torch counts bytes where safetensors counts weights
_BITS = {name: bits for name, (_, bits) in _NAMED.items()} | {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}

# Those that this torch has: F8_E8M0 came with 2.7, F4 with 2.8.
TORCH: dict[str, torch.dtype] = {
    name: getattr(torch, spelt) for name, (spelt, _) in _NAMED.items() if hasattr(torch, spelt)
}
NAMES = {dtype: name for name, dtype in TORCH.items()}
ITEM_BYTES = {name: bits // 8 for name, (_, bits) in _NAMED.items()}
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


def bits_of(tensor: Tensor) -> NDArray[Any]:
    """The bit patterns of a tensor of any shape, in C order: uint8, uint16 or uint32 [n] for floats of `CODED`.

    Other dtypes give their bytes, uint8. Memory is shared where the tensor is contiguous and on the CPU.
    """
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy()
    return raw.view(UINT[CODED.get(NAMES[tensor.dtype], 1)])


def has_dtype(dtype: str) -> bool:
    """Whether `tensor_of` can make tensors of a dtype, with the torch that is installed."""
    return dtype in TORCH or hasattr(torch, PAIRS.get(dtype, " "))


def tensor_of(bits: NDArray[Any], dtype: str, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `bits_of`; memory is shared. F4 of shape [..., 2 n] is torch's float4_e2m1fn_x2 of [..., n].

    Raises ValueError where the bits are not those of the shape.
    """
    raw = torch.from_numpy(bits.view(np.uint8))
    if len(raw) != size_of(dtype, shape):
        raise ValueError(f"{len(raw)} bytes are not a tensor of {dtype} {list(shape)}")
    found = TORCH.get(dtype)
    if found is None:
        found = getattr(torch, PAIRS[dtype])
        if not shape or shape[-1] % 2:
            raise ValueError(f"{dtype} {list(shape)} has rows that end within a byte, which torch has no tensor for")
        shape = (*shape[:-1], shape[-1] // 2)
    return raw.view(found).reshape(shape) if len(raw) else torch.empty(shape, dtype=found)
