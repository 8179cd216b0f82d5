# SPDX-License-Identifier: Apache-2.0
"""What transforms of latents take: integers or floats on a grid of cells, alone or in batches."""

from collections.abc import Sequence
from operator import index

import torch
from torch import Tensor

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)


def check_latents(latents: object, axes: int, what: str) -> Tensor:
    """Latents [c, *grid] or [n, c, *grid] of `axes` axes, of a signed integer or a floating dtype; a plain tensor.

    Raises TypeError for other objects and dtypes, ValueError for other shapes.
    """
    if not isinstance(latents, Tensor):
        raise TypeError(f"{what}: got {type(latents).__name__}, expected a tensor of latents (`latent.planes['y']`)")
    if latents.dtype not in INTEGERS and not latents.dtype.is_floating_point:
        raise TypeError(f"{what}: got {latents.dtype}, expected signed integers, or floats as they are dequantized to")
    if latents.ndim not in (axes + 1, axes + 2) or not latents.numel():
        shape = "[c, h, w] or [n, c, h, w]" if axes == 2 else "[c, frames] or [n, c, frames]"
        raise ValueError(f"{what}: got shape {tuple(latents.shape)}, expected {shape}, not empty")
    return latents if type(latents) is Tensor else latents.as_subclass(Tensor)


def check_size(size: int | Sequence[int], what: str) -> tuple[int, ...]:
    """A size in cells: (height, width), an int for a square, (frames,) for sound."""
    try:
        found = tuple(index(n) for n in size) if isinstance(size, Sequence) else (index(size),) * 2
    except TypeError:
        found = ()
    if len(found) not in (1, 2) or min(found) < 1:
        raise ValueError(f"{what}: size {size!r}, expected cells: an int, (height, width), or (frames,) for sound")
    return found


def check_probability(p: float) -> float:
    """0 to 1. Raises ValueError for others."""
    if not 0 <= p <= 1:
        raise ValueError(f"p = {p!r}, expected 0 to 1")
    return float(p)
