# SPDX-License-Identifier: Apache-2.0
"""Where features of a network lie on a grid, as a picture shows."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus.models.cut import cut

WHOLE = 1e-6


@dataclass(frozen=True)
class Place:
    """Where latents enter: the module whose output they replace, its channels, and pixels a place of its grid.

    pixels: the one size of images, along each side, that the network takes; None where it takes any.
    """

    at: str
    channels: int
    stride: int
    pixels: int | None = None


@torch.no_grad()
def place_of(model: nn.Module, at: str, size: int = 224) -> Place:
    """The place of the module at a path, for pictures of size x size pixels.

    Raises ValueError as `cut`, for features that are no square grid, and for a model that gives no logits [n, classes].
    """
    front, tail = cut(model, at)
    weight = next(model.parameters(), torch.zeros(()))
    name, modes = type(model).__name__, {module: module.training for module in model.modules()}
    try:
        feature = front.eval()(torch.zeros(1, 3, size, size, dtype=weight.dtype, device=weight.device))
        if not isinstance(feature, Tensor) or feature.ndim != 4 or feature.shape[2] != feature.shape[3]:
            raise ValueError(f"{name}: {at} gives {_told(feature)}, expected features on a square grid, [n, c, h, w]")
        stride = size / feature.shape[2]
        if abs(stride - round(stride)) > WHOLE:
            raise ValueError(f"{name}: {at} gives {feature.shape[2]} places for {size} pixels, no whole number of them")
        logits = tail.eval()(feature)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ValueError(f"{name} gives {_told(logits)}, expected logits, a tensor [n, classes]")
    finally:
        for module, mode in modes.items():
            module.training = mode
    return Place(at, feature.shape[1], round(stride))


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    return f"a {type(value).__name__}"
