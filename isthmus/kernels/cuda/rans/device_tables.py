# SPDX-License-Identifier: Apache-2.0
"""A family of tables in a GPU's memory."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.kernels.cuda.driver import most_shared
from isthmus.kernels.cuda.rans.device_image import DecoderTables, make_image, packed_slots

WARPS = 32  # of a decoding block
FAMILY = "PPPPPII"  # `struct Family` of rans/encode.cu, as `struct` writes types
DECODER_FAMILY = "PPPPIIII"  # that of rans/decode.cu
RINGS = WARPS * (512 + 16)  # bytes of shared memory that they take
OTHER_SHARED = 163 << 10  # of a block on devices that are asked for no more, those without CUDA


class Tables(DecoderTables, Protocol):
    """What is read of an `isthmus.entropy.TableFamily`."""

    @property
    def costs(self) -> NDArray[np.int32]: ...
    @property
    def least_costs(self) -> NDArray[np.int32]: ...
    @property
    def encoder_rows(self) -> NDArray[np.uint32]: ...


@dataclass(frozen=True)
class DeviceTables:
    """A family's arrays on one device, to be made once and used for many calls.

    They take 20 bytes for each entry, and either what fits the shared memory of a block or, for larger families, 8
    bytes for each of the tables * 2**precision slots, 32 MB at most.

    precision: 12 to 15; count: of tables; least_cost: bits times 65536 of the cheapest entry of all. least, most: of
    all integers in the alphabets. image, width, info_at, rows_at: `device_image.Image`, empty for families that have
    none; packed: `packed_slots` of these.
    """

    precision: int
    count: int
    least_cost: int
    least: int
    most: int
    image: torch.Tensor
    width: int
    info_at: int
    rows_at: int
    packed: torch.Tensor
    low: torch.Tensor
    sizes: torch.Tensor
    starts: torch.Tensor
    rows: torch.Tensor
    costs: torch.Tensor

    @classmethod
    def upload(cls, tables: Tables, device: torch.device | str) -> "DeviceTables":
        """Copies `tables`, an `isthmus.entropy.TableFamily`, to `device`."""
        device = torch.device(device)

        def put(array: NDArray[Any]) -> torch.Tensor:
            return torch.tensor(array, device=device)

        image = make_image(tables, (most_shared(device) if device.type == "cuda" else OTHER_SHARED) - RINGS)
        return cls(
            precision=tables.precision,
            count=len(tables.low),
            least_cost=int(tables.least_costs.min()),
            least=int(tables.low.min()),
            most=int((tables.low + tables.size - 1).max()),
            image=put(image.data if image else np.empty(0, np.uint8)),
            width=image.width if image else 0,
            info_at=image.info_at if image else 0,
            rows_at=image.rows_at if image else 0,
            packed=put(np.empty(0, np.int64) if image else packed_slots(tables).view(np.int64)),
            low=put(tables.low),
            sizes=put(tables.size),
            starts=put(tables.starts),
            rows=put(tables.encoder_rows.view(np.int32)),
            costs=put(tables.costs),
        )

    @property
    def device(self) -> torch.device:
        return self.low.device

    def family(self) -> tuple[torch.Tensor | int, ...]:
        """The members of the encoding kernels' structure."""
        return self.low, self.sizes, self.starts, self.rows, self.costs, self.count, self.precision

    def decoder_family(self) -> tuple[torch.Tensor | int, ...]:
        """The members of the decoding kernel's structure."""
        return (
            self.image, self.packed, self.low, self.sizes, len(self.image), self.info_at, self.rows_at, self.count,
        )  # fmt: skip
