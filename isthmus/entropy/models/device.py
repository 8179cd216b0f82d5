# SPDX-License-Identifier: Apache-2.0
"""Factorized latents decoded on a GPU: heads on the CPU, which name the tables, then all symbols in one launch."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from isthmus.entropy.coders import batch
from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.models.choices import ChoiceColumns
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.entropy.tables.family import TableFamily
from isthmus.errors import CorruptStreamError, MissingExtraError
from isthmus.kernels.cuda import nvrtc
from isthmus.kernels.cuda.rans import coder as cuda_rans

WHAT = "latent payload"


def refusal(coder: object) -> str | None:
    """Why a coder's payloads cannot be decoded on a GPU, or None."""
    if not isinstance(coder, FactorizedModel | CausalModel):
        return (
            "contexts of images name each table from neighbours that were decoded before, one pass after another; "
            'streams made with entropy="factorized" are decoded on a GPU'
        )
    try:
        nvrtc.library()
    except MissingExtraError as error:
        return str(error)
    return None


@lru_cache(maxsize=8)
def _uploaded(family: TableFamily, device: str) -> cuda_rans.DeviceTables:
    return cuda_rans.DeviceTables.upload(family, device)


def decode_batch(
    model: FactorizedModel,
    payloads: Sequence[bytes | memoryview],
    shape: tuple[int, int, int],
    rows: Sequence[int],
    device: str,
) -> tuple[Tensor, ChoiceColumns]:
    """As `FactorizedModel.decode_columns`, the planes int16 [n, c, h, w] on `device`: the same integers, bit for bit.

    Raises CorruptStreamError that names the first item at fault.
    """
    (channels, height, width), items = shape, len(payloads)
    if torch.device(device).type == "cuda" and torch.device(device).index is None:
        device = f"cuda:{torch.cuda.current_device()}"  # tables are kept for each card
    data, bounds, tables, offsets, choices = model.decode_heads(payloads, shape, rows)
    family = _uploaded(model.family, device)
    size = prod(shape) + 2 * channels  # symbols of an item
    data_there = torch.from_numpy(data.copy()).to(device)
    chosen = torch.from_numpy(tables).to(device, torch.int16)
    own = torch.empty(items, size, dtype=torch.int16, device=device)
    own[:, :channels], own[:, channels : 2 * channels] = model.scales, model.scales + 1
    own[:, 2 * channels :] = chosen[:, :, None].expand(-1, -1, height * width).reshape(items, -1)
    ends = torch.arange(items + 1, dtype=torch.int64, device="cpu") * size
    symbols = cuda_rans.decode(data_there, torch.from_numpy(bounds), ends, own.reshape(-1), family)
    planes = symbols.view(items, size)[:, 2 * channels :].reshape(items, channels, -1)
    planes = planes + torch.from_numpy(offsets).to(device)[:, :, None]
    bad = ((planes < -(1 << 15)) | (planes >= 1 << 15)).flatten(1).any(1)
    if bool(bad.any()):
        raise CorruptStreamError(
            f"{WHAT}: item {int(bad.nonzero()[0])}: {batch.FAULTS[-1]}; the stream is damaged, fetch it again"
        )
    return planes.to(torch.int16).view(items, *shape), choices
