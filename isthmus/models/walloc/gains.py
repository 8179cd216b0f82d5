# SPDX-License-Identifier: Apache-2.0
"""What the linear halves of WaLLoC models share: tensors of a state, and gains and steps by quality."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from isthmus.arrays.types import Float32
from isthmus.models.levels import lerp_levels, quality_to_level


def arrays_of(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> list[Any]:
    """The tensors of a model's state that `shapes` names, in its order: layers as numpy, tables of levels as torch.

    Raises KeyError for one that is missing, ValueError for one of another shape.
    """
    found = {name: state[name].detach().cpu().float().contiguous() for name in shapes}
    for name, shape in shapes.items():
        if tuple(found[name].shape) != shape:
            raise ValueError(f"{name} is {tuple(found[name].shape)}, expected {shape}")
    return [tensor.numpy() if "." in name else tensor for name, tensor in found.items()]


class Gains:
    """Of a frozen dataclass with `log_gain` and `log_step`, float32 [L, c], one row a gain level."""

    log_gain: Tensor
    log_step: Tensor

    def level(self, quality: int) -> Tensor:
        """The place of a quality of 1 to 100 among the gain levels: float32 [1]."""
        return torch.tensor([quality_to_level(quality, len(self.log_gain))], dtype=torch.float32, device="cpu")

    def _scale(self, table: Tensor, quality: int) -> Float32:
        return lerp_levels(table, self.level(quality)).exp()[0].numpy()

    def gain(self, quality: int) -> Float32:
        """What latents are multiplied with before they are rounded: float32 [c]."""
        return self._scale(self.log_gain, quality)

    def step(self, quality: int) -> Float32:
        """What rounded latents are multiplied with to be those of the analysis again: float32 [c]."""
        return self._scale(self.log_step, quality)
