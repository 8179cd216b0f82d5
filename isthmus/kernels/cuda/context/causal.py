# SPDX-License-Identifier: Apache-2.0
"""Many `context.2` payloads on a GPU in one launch, GROUP threads each: the integers of `kernels.context.causal`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.kernels.cuda.driver import WARP, launch, most_shared
from isthmus.kernels.cuda.rans.device_image import DecoderTables, packed_slots
from isthmus.kernels.cuda.rans.device_tables import DECODER_FAMILY

GROUP = 16  # threads that share the taps of a position (docs/gpu.md)
UNIT = 6  # members of `struct Unit`
STATES = 4 * 32  # bytes of a payload's lanes, at most
SIGNATURE = f"PqPqPPPPII{DECODER_FAMILY}PqPPq"


@dataclass(frozen=True)
class DeviceCausal:
    """A model and its tables on one device: `struct Model` and the decoder's family of context/causal.cu.

    They take 8 bytes for each of the tables * 2**precision slots and 4 for each tap, and 1600 for each plane.

    taps: int32 [N]; planes: int32 [C, 4]; rows: int32 [100, C, 4]; levels: int32 [384]; frames: of a ring.
    """

    taps: torch.Tensor
    planes: torch.Tensor
    rows: torch.Tensor
    levels: torch.Tensor
    frames: int
    precision: int
    tables: int
    packed: torch.Tensor
    low: torch.Tensor
    sizes: torch.Tensor
    group: int = GROUP

    @classmethod
    def upload(
        cls,
        model: tuple[NDArray[Any], ...],
        biases: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
        lags: int,
        tables: DecoderTables,
        device: torch.device | str,
        group: int = GROUP,
    ) -> "DeviceCausal":
        """Copies what `kernels.context.causal` takes of a model, its biases [100, C] of all rows, and its tables.

        lags: frames that a tap looks back, at most. group: 1, 2, 4, 8, 16 or 32.
        """
        begins, backs, weights, shift, levels = model
        taps, planes = _arrange(begins, backs, weights, group)
        rows = np.stack([*biases, np.broadcast_to(shift, biases[0].shape)], axis=2, dtype=np.int32)

        def put(array: NDArray[Any]) -> torch.Tensor:
            return torch.tensor(array, device=device)

        return cls(
            put(taps), put(planes), put(rows), put(levels), lags + 1, tables.precision, len(tables.low),
            put(packed_slots(tables).view(np.int64)), put(tables.low), put(tables.size), group,
        )  # fmt: skip

    @property
    def channels(self) -> int:
        return len(self.planes)

    @property
    def room(self) -> int:
        """Bytes of shared memory of a payload: states, values, residuals and image offsets."""
        return -(-(STATES + 3 * self.frames * self.channels + self.channels) // 4) * 4


def _arrange(
    begins: NDArray[np.int64], backs: NDArray[np.int32], weights: NDArray[np.int32], group: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Taps [N], of each plane those of the mean and then of the scale, and where these begin and end: [C, 4].

    Raises ValueError for taps that do not fit their 16 bits each; those of a `CausalPredictor` do, 16 * 512 positions
    back at most.
    """
    if backs.max(initial=0) >= 1 << 15 or backs.min(initial=0) < 0 or (weights != weights.astype(np.int16)).any():
        raise ValueError("cuda.context: a tap looks back 2**15 positions or more, or its weight does not fit 16 bits")
    parts, places = [], [0]
    for c in range(begins.shape[1] - 1):
        for kind in range(2):
            own = slice(begins[kind, c], begins[kind, c + 1])
            part = backs[kind, own] << 16 | weights[kind, own] & 0xFFFF
            parts.append(np.concatenate([part, np.zeros(-len(part) % group, np.int32)]))
            places.append(places[-1] + len(parts[-1]))
    firsts = np.array(places[:-1], np.int32).reshape(-1, 2)
    ends = np.array(places[2::2], np.int32)
    planes = np.column_stack([firsts, ends, np.zeros_like(ends)])
    return np.concatenate([*parts, np.zeros(1, np.int32)]), np.ascontiguousarray(planes)


def decode(
    data: torch.Tensor, units: torch.Tensor, model: DeviceCausal, out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Writes the integers of all units to int16 `out`; gives their image offsets int8 [units, C] and uint8 status.

    data: uint8 [bytes], all payloads. units: int64 [units, 6], of each where its payload begins, its bytes, its frames
    T, where in `out` its first integer goes, how far on the next plane's first is (at least T), and its row of the
    model, from 0. All tensors are contiguous, on the model's device. status: of rans/status.py; integers and offsets
    mean something where it is OK. Does not wait for the kernel. Raises ValueError for tensors of other kinds.
    """
    device, count = model.taps.device, len(units)
    kinds = (data, torch.uint8, 1), (units, torch.int64, 2), (out, torch.int16, 1)
    fine = all(
        one.device == device and one.dtype == dtype and one.ndim == axes and one.is_contiguous()
        for one, dtype, axes in kinds
    )
    if not fine or units.shape[1] != UNIT:
        raise ValueError(
            "cuda.context.decode: expected uint8 data, int64 units [n, 6] and int16 out on the model's device"
        )
    offsets = torch.empty(count, model.channels, dtype=torch.int8, device=device)
    status = torch.empty(count, dtype=torch.uint8, device=device)
    together = max(1, min(WARP // model.group, most_shared(device) // model.room))  # units of a block
    arguments = (
        data, len(data), units, count,
        model.taps, model.planes, model.rows, model.levels, model.channels, model.frames * model.channels,
        model.packed, model.packed, model.low, model.sizes, 0, 0, 0, model.tables,
        out, len(out), offsets, status, model.room,
    )  # fmt: skip
    if count:
        launch(
            "context/causal.cu", "decode_causal", device, -(-count // together), together * model.group, SIGNATURE,
            arguments, shared=together * model.room,
            defines=(f"GROUP={model.group}", f"PRECISION={model.precision}", "LOOKUP=0"),
        )  # fmt: skip
    return offsets, status
