# SPDX-License-Identifier: Apache-2.0
"""torch's tensors as bit patterns, under the names of dtypes that safetensors has."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.codecs.dfloat.dtypes import CODED, NAMED, UINT, size_of

PAIRS = {"F4": "float4_e2m1fn_x2"}  # two weights a byte: torch counts bytes where safetensors counts weights
# Those that this torch has: F8_E8M0 came with 2.7, F4 with 2.8.
TORCH: dict[str, torch.dtype] = {
    name: getattr(torch, spelt) for name, (spelt, _) in NAMED.items() if hasattr(torch, spelt)
}
NAMES = {dtype: name for name, dtype in TORCH.items()}


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
    return raw.view(found).reshape(shape) if len(raw) else torch.empty(shape, dtype=found, device="cpu")
