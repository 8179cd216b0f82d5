# SPDX-License-Identifier: Apache-2.0
"""Safetensors files for tests, byte by byte, so that headers can be as odd as the format allows, or odder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.codecs.dfloat.tensors import NAMES, bits_of


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02).to(dtype)


def mixed() -> dict[str, Tensor]:
    """Every kind of tensor; the single byte in front puts all that follow at odd places."""
    return {
        "flag": torch.tensor([True]),
        "layer.weight": normal(300, 256),
        "layer.bias": normal(256, seed=1, dtype=torch.float32),
        "half": normal(40, 50, seed=2, dtype=torch.float16),
        "eight": normal(3000, seed=3).mul(50).to(torch.float8_e5m2),
        "positions": torch.arange(100),
        "double": normal(30, seed=4, dtype=torch.float64),
        "scalar": torch.tensor(-0.0, dtype=torch.bfloat16),
        "nothing": torch.empty(0, 7, dtype=torch.bfloat16),
        "large": normal(700, 500, seed=5),
        "zeros": torch.zeros(5000, dtype=torch.float32),
    }


def entries_of(tensors: dict[str, Tensor]) -> tuple[dict[str, Any], bytes]:
    """A header's entries, in the order of the dict, and the data."""
    table, parts, at = {}, [], 0
    for name, tensor in tensors.items():
        body = bits_of(tensor).tobytes()
        table[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(body)]}
        parts.append(body)
        at += len(body)
    return table, b"".join(parts)


def pack(table: Any, data: bytes, *, padding: int = 0) -> bytes:
    """A file of a header, any JSON value or text, and data."""
    header = (table if isinstance(table, str) else json.dumps(table)).encode() + b" " * padding
    return len(header).to_bytes(8, "little") + header + data


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None, padding: int = 3) -> bytes:
    """Writes a file, its entries in reverse order, and returns its bytes."""
    table, data = entries_of(tensors)
    table = dict(reversed(table.items()))
    if metadata is not None:
        table["__metadata__"] = metadata
    content = pack(table, data, padding=padding)
    path.write_bytes(content)
    return content


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(bits_of(a), bits_of(b)))
