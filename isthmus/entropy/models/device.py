# SPDX-License-Identifier: Apache-2.0
"""Factorized latents on a GPU: encoded there, and decoded but for their heads, which name the tables, on the CPU."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
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
COUNTERS = 1 << 24  # of `choose` at once, 128 MB


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


def encodes(coder: object) -> bool:
    """Whether `encode_batch` takes a coder. Contexts are for the CPU."""
    return isinstance(coder, FactorizedModel) and nvrtc.is_there()


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
    data, bounds, tables, offsets, choices = model.decode_heads(payloads, shape, rows)
    family = _uploaded(model.family, device := _numbered(device))
    size = prod(shape) + 2 * channels  # symbols of an item
    data_there = torch.from_numpy(data.copy()).to(device)
    own = _own_tables(model, torch.from_numpy(tables).to(device), height * width)
    symbols = cuda_rans.decode(data_there, torch.from_numpy(bounds), _ends(items, size), own.reshape(-1), family)
    planes = symbols.view(items, size)[:, 2 * channels :].reshape(items, channels, -1)
    planes = planes + torch.from_numpy(offsets).to(device)[:, :, None]
    bad = ((planes < -(1 << 15)) | (planes >= 1 << 15)).flatten(1).any(1)
    if bool(bad.any()):
        raise CorruptStreamError(
            f"{WHAT}: item {int(bad.nonzero()[0])}: {batch.FAULTS[-1]}; the stream is damaged, fetch it again"
        )
    return planes.to(torch.int16).view(items, *shape), choices


def encode_batch(model: FactorizedModel, planes: Tensor, rows: Sequence[int]) -> list[bytes]:
    """As `FactorizedModel.encode_batch` without choices, for int16 [n, c, h, w] on a GPU: the same bytes.

    Raises ValueError for another number of channels.
    """
    items, channels, height, width = planes.shape
    tables, offsets = choose(model, planes)
    usual = torch.from_numpy(model.usual(rows, items, channels)).to(planes.device)
    values = planes.to(torch.int32) - offsets[:, :, None, None]
    symbols = torch.cat((tables - usual, offsets, values.flatten(1)), 1)
    own = _own_tables(model, tables, height * width)
    family = _uploaded(model.family, _numbered(str(planes.device)))
    data, bounds = cuda_rans.encode(symbols, _ends(*symbols.shape), own.reshape(-1), family)
    whole, ends = data.cpu().numpy().tobytes(), bounds.tolist()
    return [whole[begin:end] for begin, end in pairwise(ends)]


def choose(model: FactorizedModel, planes: Tensor) -> tuple[Tensor, Tensor]:
    """What `FactorizedModel.choose` finds for int16 [n, c, h, w] on any device: tables and offsets, int32 [n, c].

    Sums of costs are float64 below 2^53, so that their order does not matter.
    """
    items, channels = planes.shape[:2]
    flat = planes.reshape(items * channels, -1)
    area, costs = flat.shape[1], _costs(model, str(planes.device))
    bins, scales = costs.shape
    reach = bins >> 1
    offsets = torch.div(2 * flat.sum(1, dtype=torch.int64) + area, 2 * area, rounding_mode="floor")[:, None]
    places = (flat - offsets + reach).clamp_(0, bins - 1)
    sums = torch.cat([_counts(part, bins).to(torch.float64) @ costs for part in torch.split(places, COUNTERS // bins)])
    numbers = torch.arange(scales, device=planes.device)
    cheapest = torch.where(sums == sums.amin(1, keepdim=True), numbers, scales).amin(1)  # argmin may take any of equals
    return cheapest.to(torch.int32).view(items, channels), offsets.to(torch.int32).view(items, channels)


def _counts(places: Tensor, bins: int) -> Tensor:
    """Histograms int64 [n, bins] of int64 [n, area]."""
    own = places + torch.arange(len(places), device=places.device)[:, None] * bins
    return torch.bincount(own.flatten(), minlength=len(places) * bins).view(-1, bins)


@lru_cache(maxsize=8)
def _costs(model: FactorizedModel, device: str) -> Tensor:
    return torch.from_numpy(model.costs).to(device, torch.float64)


def _numbered(device: str) -> str:
    """The same with the number of the card: tables are kept for each."""
    found = torch.device(device)
    return f"cuda:{torch.cuda.current_device()}" if found.type == "cuda" and found.index is None else device


def _ends(items: int, size: int) -> Tensor:
    """Bounds of `items` of so many symbols each."""
    return torch.arange(items + 1, dtype=torch.int64, device="cpu") * size


def _own_tables(model: FactorizedModel, tables: Tensor, area: int) -> Tensor:
    """The table of each symbol of items whose channels have `tables` [n, c]: int16 [n, c (area + 2)]."""
    items, channels = tables.shape
    own = torch.empty(items, channels * (area + 2), dtype=torch.int16, device=tables.device)
    own[:, :channels], own[:, channels : 2 * channels] = model.scales, model.scales + 1
    own[:, 2 * channels :] = tables.to(torch.int16)[:, :, None].expand(-1, -1, area).reshape(items, -1)
    return own
