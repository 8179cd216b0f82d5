# SPDX-License-Identifier: Apache-2.0
"""Latents and samples of several rows: stacked where their shapes agree, so that nobody stacks them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Planes: TypeAlias = dict[str, Tensor]
Sample: TypeAlias = dict[str, Any]


class PlaneBatch:
    """Planes of several latents, as one dict of stacked tensors or as a dict for each."""

    def __init__(self, stacked: Planes | None, each: Sequence[Planes] | None = None) -> None:
        self.stacked, self._each = stacked, each

    @property
    def each(self) -> Sequence[Planes]:
        """A dict of planes for each latent; views of what is stacked."""
        if self._each is None:
            assert self.stacked is not None
            names, parts = list(self.stacked), [plane.unbind() for plane in self.stacked.values()]
            self._each = [dict(zip(names, planes, strict=True)) for planes in zip(*parts, strict=True)]
        return self._each


def narrowed(plane: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Integers in a dtype that is smaller; None where one does not fit. numpy's minimum and maximum take no threads."""
    if plane.dtype == dtype or not plane.numel():
        return plane.to(dtype)
    values, limits = plane.numpy(), torch.iinfo(dtype)
    if values.min() < limits.min or values.max() > limits.max:
        return None
    return plane.to(dtype)


class Samples(list[Sample]):
    """Samples of a batch; `stacked` are their planes along a new first axis, where they lie so already."""

    stacked: Planes | None = None


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Samples of a data set of latents as one batch, whatever their sizes.

    Planes are stacked along a new first axis, [n, c, h, w] or [n, c, frames]; smaller ones are filled with zeros at
    their ends. "mask", bool [n, h, w] or [n, frames], is true where the first plane of a sample is; masks of further
    planes are called after them, "noise_mask". Numbers become int64 or float64 tensors, other values a list.
    """
    if not len(samples):
        raise ValueError("collate: a batch of no samples")
    made: dict[str, Any] = {}
    stacked = getattr(samples, "stacked", None) or {}
    for name, first in samples[0].items():
        values = [sample[name] for sample in samples]
        if isinstance(first, Tensor) and first.ndim:
            whole = stacked.get(name)
            made[name], mask = _padded(values) if whole is None else (whole, _all_there(whole))
            made["mask" if "mask" not in made else f"{name}_mask"] = mask
        elif isinstance(first, bool | int | float):
            made[name] = torch.tensor(values)
        else:
            made[name] = torch.stack(values) if isinstance(first, Tensor) else values
    return made


def _all_there(whole: Tensor) -> Tensor:
    return torch.ones(whole.shape[0], *whole.shape[2:], dtype=torch.bool)


def _padded(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Planes [c, ...] of any sizes as one tensor, and where in it they are. Raises ValueError for unlike channels."""
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) == 1:
        whole = torch.stack(list(values))
        return whole, _all_there(whole)
    if len({(len(shape), shape[0]) for shape in shapes}) != 1:
        raise ValueError(f"collate: planes of {sorted(shapes)}, expected as many channels and axes of all")
    size = [max(lengths) for lengths in zip(*shapes, strict=True)]
    whole = torch.zeros(len(values), *size, dtype=values[0].dtype)
    mask = torch.zeros(len(values), *size[1:], dtype=torch.bool)
    for place, value in enumerate(values):
        part = tuple(slice(0, length) for length in value.shape)
        whole[place][part] = value
        mask[place][part[1:]] = True
    return whole, mask
