# SPDX-License-Identifier: Apache-2.0
"""A family of tables in a GPU's memory."""

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

CUMULATIVE = np.uint64(0xFFFF0000)


class Tables(Protocol):
    """What is read of an `isthmus.entropy.TableFamily`."""

    @property
    def precision(self) -> int: ...
    @property
    def low(self) -> NDArray[np.int32]: ...
    @property
    def size(self) -> NDArray[np.int32]: ...
    @property
    def starts(self) -> NDArray[np.int64]: ...
    @property
    def cumulative(self) -> NDArray[np.int32]: ...
    @property
    def costs(self) -> NDArray[np.int32]: ...
    @property
    def least_costs(self) -> NDArray[np.int32]: ...
    @property
    def slots(self) -> NDArray[np.uint8] | NDArray[np.uint16]: ...
    @property
    def encoder_rows(self) -> NDArray[np.uint32]: ...
    @property
    def decoder_entries(self) -> NDArray[np.uint64]: ...


class Family(ctypes.Structure):
    """`struct Family` of rans_encode.cu."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("low", "sizes", "starts", "rows", "costs")),
        ("tables", ctypes.c_uint32),
        ("precision", ctypes.c_uint32),
    )


def packed_slots(tables: Tables) -> NDArray[np.uint64]:
    """uint64 [tables * 2**precision]: value << 32 | place in the entry << 16 | is escape << 15 | frequency, by slot."""
    entries = tables.slots + np.repeat(tables.starts, 1 << tables.precision)
    place = np.arange(len(entries)) % (1 << tables.precision) - tables.cumulative[entries]
    return (tables.decoder_entries[entries] & ~CUMULATIVE) | place.astype(np.uint64) << np.uint64(16)


@dataclass(frozen=True)
class DeviceTables:
    """A family's arrays on one device, to be made once and used for many calls.

    They take 8 bytes for each of the tables * 2**precision slots, 32 MB at most, and 20 bytes for each entry.

    precision: 12 to 15; count: of tables; least_cost: bits times 65536 of the cheapest entry of all.
    """

    precision: int
    count: int
    least_cost: int
    packed: torch.Tensor
    low: torch.Tensor
    sizes: torch.Tensor
    starts: torch.Tensor
    rows: torch.Tensor
    costs: torch.Tensor

    @classmethod
    def upload(cls, tables: Tables, device: torch.device | str) -> "DeviceTables":
        """Copies `tables`, an `isthmus.entropy.TableFamily`, to `device`."""

        def put(array: NDArray[Any]) -> torch.Tensor:
            return torch.tensor(array).to(device)

        return cls(
            precision=tables.precision,
            count=len(tables.low),
            least_cost=int(tables.least_costs.min()),
            packed=put(packed_slots(tables).view(np.int64)),
            low=put(tables.low),
            sizes=put(tables.size),
            starts=put(tables.starts.astype(np.int32)),
            rows=put(tables.encoder_rows.view(np.int32)),
            costs=put(tables.costs),
        )

    @property
    def device(self) -> torch.device:
        return self.packed.device

    def family(self) -> Family:
        """The argument of the encoding kernels; valid as long as these tables live."""
        pointers = (array.data_ptr() for array in (self.low, self.sizes, self.starts, self.rows, self.costs))
        return Family(*pointers, self.count, self.precision)
