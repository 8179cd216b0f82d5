# SPDX-License-Identifier: Apache-2.0
"""Integers of latents to floats, on the device that trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isthmus.datasets.latents.sources import Source


class Scaled:
    """What data sets of latents share: how their integers become floats."""

    _source: Source
    _scale: Scale | None = None

    @property
    def scale(self) -> Scale:
        """How integers become floats: steps, means and standard deviations by plane and channel."""
        if self._scale is None:
            self._scale = Scale(self._source.statistics(), self._source.layout())
        return self._scale

    @property
    def mean(self) -> dict[str, Tensor]:
        """By plane, float32 [c, 1, 1] or [c, 1]: means of what `dequantize` gives."""
        return self.scale.mean

    @property
    def std(self) -> dict[str, Tensor]:
        """By plane, as `mean`: standard deviations of what `dequantize` gives."""
        return self.scale.std

    def dequantize(
        self, batch: dict[str, Any] | Tensor, device: Any = None, *, normalize: bool = False
    ) -> dict[str, Any] | Tensor:
        """Integers of a batch to float32 on `device`: they travel as integers, and are multiplied by their steps there.

        batch: as DataLoader gives it, or plane "y" of it, [n, c, ...]; other tensors travel too, other values stay.
        normalize: to mean 0 and standard deviation 1 of each channel. Planes that have no scale, such as indices, stay
        integers. What `collate` filled in is 0 either way.
        """
        return self.scale.dequantize(batch, device, normalize=normalize)


class Scale:
    """By plane: `step`, what integers are multiplied by (absent: they stay integers), `mean` and `std` of the products.

    All are float32 [c, 1, ...] and spread over a latent. statistics: by plane, of integers by channel, as in a
    manifest; layout: by plane, with its `rank`.
    """

    def __init__(self, statistics: dict[str, dict[str, Any]], layout: dict[str, dict[str, Any]]) -> None:
        self.step: dict[str, Tensor] = {}
        self.mean: dict[str, Tensor] = {}
        self.std: dict[str, Tensor] = {}
        self._first = next(iter(layout), None)
        self._moved: dict[Any, dict[str, tuple[Tensor, Tensor, Tensor]]] = {}
        for name, told in statistics.items():
            if not told.get("mean") or name not in layout:
                continue
            step = told.get("step") or [1.0] * len(told["mean"])
            ones = (1,) * (layout[name]["rank"] - 1)
            steps, means, spreads = (
                torch.tensor(v, dtype=torch.float64).reshape(-1, *ones) for v in (step, told["mean"], told["std"])
            )
            if told.get("step"):
                self.step[name] = steps.float()
            self.mean[name], self.std[name] = (means * steps).float(), (spreads * steps.abs()).float()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_moved": {}}

    def dequantize(
        self, batch: dict[str, Any] | Tensor, device: Any = None, *, normalize: bool = False
    ) -> dict[str, Any] | Tensor:
        """See `LatentDataset.dequantize`."""
        if isinstance(batch, Tensor):
            return self._plane("y", batch if device is None else batch.to(device, non_blocking=True), normalize)
        made = {}
        for name, value in batch.items():
            there = value.to(device, non_blocking=True) if isinstance(value, Tensor) and device is not None else value
            made[name] = self._plane(name, there, normalize) if name in self.step else there
        for name in self.step if normalize else ():
            mask = made.get("mask" if name == self._first else f"{name}_mask")
            if name in made and isinstance(mask, Tensor):
                made[name] = made[name] * mask.unsqueeze(1)
        return made

    def _plane(self, name: str, plane: Tensor, normalize: bool) -> Tensor:
        if name not in self.step:
            raise ValueError(f"dequantize: plane {name!r} has no scale; {', '.join(self.step) or 'none'} have")
        if plane.dtype.is_floating_point:
            raise ValueError(f"dequantize: plane {name} is {plane.dtype} already, expected integers")
        moved = self._moved.setdefault(plane.device, {})
        if name not in moved:
            spread = self.std[name].clamp_min(1e-12)
            factors = self.step[name], self.step[name] / spread, self.mean[name] / spread
            moved[name] = tuple(f.to(plane.device) for f in factors)  # type: ignore[assignment]
        step, factor, shift = moved[name]
        return plane * factor - shift if normalize else plane * step
