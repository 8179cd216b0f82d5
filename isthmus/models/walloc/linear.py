# SPDX-License-Identifier: Apache-2.0
"""The linear half of a WaLLoC model as the kernels take it: what encoding, dequantizing and previews need."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.arrays.types import Float32
from isthmus.kernels.wavelet import image as transform
from isthmus.models.levels import lerp_levels, quality_to_level
from isthmus.models.walloc.image import ROUNDING_OFFSET, Walloc, WallocConfig


@dataclass(frozen=True, eq=False)
class WallocLinear:
    """n bands, c latent channels, L gain levels, all float32.

    analysis_weight [c, n], analysis_bias [c], synthesis_weight [n, c], synthesis_bias [n]; log_gain, log_step [L, c].
    """

    config: WallocConfig
    analysis_weight: Float32
    analysis_bias: Float32
    synthesis_weight: Float32
    synthesis_bias: Float32
    log_gain: Tensor
    log_step: Tensor

    @classmethod
    def of(cls, model: Walloc) -> "WallocLinear":
        """Of a model on any device."""
        return cls.from_state(model.config, model.state_dict())

    @classmethod
    def from_state(cls, config: WallocConfig, state: Mapping[str, Tensor]) -> "WallocLinear":
        """From tensors named as in a model's state, which may hold others too.

        Raises KeyError for one that is missing, ValueError for one of another shape.
        """
        c, n, levels = config.latent_channels, config.bands, config.gain_levels
        shapes = {
            "analysis.weight": (c, n), "analysis.bias": (c,), "synthesis.weight": (n, c), "synthesis.bias": (n,),
            "log_gain": (levels, c), "log_step": (levels, c),
        }  # fmt: skip
        found = {name: state[name].detach().cpu().contiguous() for name in shapes}
        for name, shape in shapes.items():
            if tuple(found[name].shape) != shape:
                raise ValueError(f"{name} is {tuple(found[name].shape)}, expected {shape}")
        return cls(config, *(t.numpy() if "." in name else t for name, t in found.items()))  # type: ignore[arg-type]

    def level(self, quality: int) -> Tensor:
        """The place of a quality of 1 to 100 among the gain levels: float32 [1]."""
        return torch.tensor([quality_to_level(quality, self.config.gain_levels)], dtype=torch.float32, device="cpu")

    def _scale(self, table: Tensor, quality: int) -> Float32:
        return lerp_levels(table, self.level(quality)).exp()[0].numpy()

    def gain(self, quality: int) -> Float32:
        """What latents are multiplied with before they are rounded: float32 [c]."""
        return self._scale(self.log_gain, quality)

    def step(self, quality: int) -> Float32:
        """What rounded latents are multiplied with to be those of the analysis again: float32 [c]."""
        return self._scale(self.log_step, quality)

    def analyze_image(self, planes: NDArray[np.uint8], quality: int, *, threads: int = 1) -> NDArray[np.int16]:
        """uint8 [C, H, W] to quantized latents, int16 [c, ceil(H / f), ceil(W / f)]."""
        return transform.analyze_quantized(
            planes, self.analysis_weight, self.analysis_bias, self.gain(quality), ROUNDING_OFFSET, self.config.levels,
            threads=threads,
        )  # fmt: skip

    def synthesize_image(
        self, y: NDArray[np.int16], quality: int, height: int, width: int, *, threads: int = 1
    ) -> NDArray[np.uint8]:
        """Quantized latents to uint8 [C, height, width], without the network."""
        return transform.synthesize_linear(
            y, self.synthesis_weight, self.synthesis_bias, self.step(quality), height, width, self.config.levels,
            threads=threads,
        )  # fmt: skip
