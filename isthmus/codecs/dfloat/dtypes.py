# SPDX-License-Identifier: Apache-2.0
"""Names of dtypes as safetensors spells them, and tensors as bit patterns."""

from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TORCH = {
    "BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64,
    "U8": torch.uint8, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
    "BOOL": torch.bool, "C64": torch.complex64,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in TORCH.items()}
ITEM_BYTES = {name: dtype.itemsize for name, dtype in TORCH.items()}
CODED = {"BF16": 2, "F16": 2, "F32": 4, "F8_E4M3": 1, "F8_E5M2": 1}  # dtypes of floats, and their bytes
UINT: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32)}


def bits_of(tensor: Tensor) -> NDArray[Any]:
    """The bit patterns of a tensor of any shape, in C order: uint8, uint16 or uint32 [n] for floats of `CODED`.

    Other dtypes give their bytes, uint8. Memory is shared where the tensor is contiguous and on the CPU.
    """
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy()
    return raw.view(UINT[CODED.get(NAMES[tensor.dtype], 1)])


def tensor_of(bits: NDArray[Any], dtype: str, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `bits_of`; memory is shared. Raises ValueError where the bits are not those of the shape."""
    raw = torch.from_numpy(bits.view(np.uint8))
    if len(raw) != prod(shape) * ITEM_BYTES[dtype]:
        raise ValueError(f"{len(raw)} bytes are not a tensor of {dtype} {list(shape)}")
    return raw.view(TORCH[dtype]).reshape(shape) if len(raw) else torch.empty(shape, dtype=TORCH[dtype])
