# SPDX-License-Identifier: Apache-2.0
"""Tensors for the shared tests: for golden streams, such that integer arithmetic alone defines them."""

from functools import cache

import numpy as np
import torch

from isthmus.codecs.dfloat.coding import MODES
from tests.codecs.case import Case


@cache
def tensors() -> dict[str, torch.Tensor]:
    """Every dtype that is coded, and others, all kinds of bits."""
    words = np.arange(1, 70_001, dtype=np.uint64)
    for multiplier in (6364136223846793005, 1442695040888963407):  # wraps round at 2**64
        words = words * np.uint64(multiplier) ^ words >> np.uint64(29)
    size = np.uint32(126) - np.minimum((words >> np.uint64(40)) & np.uint64(0xFF), 40).astype(np.uint32) // np.uint32(5)
    floats = (words & np.uint64(0x807FFFFF)).astype(np.uint32) | size << np.uint32(23)
    normal = torch.from_numpy(floats.view(np.float32))
    falling = floats & (floats >> np.uint32(3) | np.uint32(0xFF9FFFFF))  # the first bits of mantissas are mostly 0
    every = torch.arange(0, 1 << 16, 16).to(torch.int16)
    return {
        "bf16": torch.from_numpy((floats >> np.uint32(16)).astype(np.uint16).view(np.int16)).view(torch.bfloat16),
        "bf16 falling": torch.from_numpy((falling[:9001] >> np.uint32(16)).astype(np.uint16).view(np.int16)).view(
            torch.bfloat16
        ),
        "f32": normal[:3000].reshape(30, 100),
        "f32 falling": torch.from_numpy(falling[:9001].view(np.float32)),
        "f32 of bf16": torch.from_numpy((floats[:5000] & np.uint32(0xFFFF0000)).view(np.float32)),
        "f16 of every kind": every.view(torch.float16).reshape(2, 16, 128),
        "e4m3": torch.from_numpy((floats[:4000] >> np.uint32(20)).astype(np.uint8)).view(torch.float8_e4m3fn),
        "e5m2": torch.from_numpy((floats[:4000] >> np.uint32(21)).astype(np.uint8)).view(torch.float8_e5m2),
        "zeros": torch.zeros(1000, 70, dtype=torch.bfloat16),
        "scalar": torch.tensor(-0.0, dtype=torch.bfloat16),
        "empty": torch.empty(3, 0, dtype=torch.float16),
        "counts": torch.arange(12).reshape(3, 4),
    }


def small() -> dict[str, torch.Tensor]:
    made = tensors()
    return {
        "weight": made["bf16"][:300].reshape(20, 15),
        "bias": made["f32"][0, :9],
        "norm": made["f16 of every kind"][0, 0, :7],
        "empty": made["empty"],
        "steps": made["counts"],
    }


GOLDEN = [
    Case(f"dfloat.1-set-{mode}", "dfloat", tensors, {"mode": mode}, exact=True, golden=f"dfloat.1/set-{mode}")
    for mode in MODES
]
CASES = [
    *(Case(f"tensors-{mode}", "dfloat", small, {"mode": mode}, exact=True) for mode in MODES),
    Case("tensors-one", "dfloat", lambda: tensors()["bf16"][:70], exact=True),
    Case("tensors-none", "dfloat", dict, exact=True),
]
