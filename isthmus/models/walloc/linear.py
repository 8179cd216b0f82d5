# SPDX-License-Identifier: Apache-2.0
"""The linear half of a WaLLoC model as the kernels take it: what encoding, dequantizing and previews need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.arrays.types import Float32
from isthmus.kernels.cuda import nvrtc
from isthmus.kernels.wavelet import image as transform
from isthmus.kernels.wavelet import torch_image
from isthmus.models.walloc.gains import Gains, arrays_of
from isthmus.models.walloc.image import ROUNDING_OFFSET, Walloc, WallocConfig

SAMPLES_AT_ONCE = 1 << 26  # of `analyze_images`: twice as many float32, 512 MB


@dataclass(frozen=True, eq=False)
class WallocLinear(Gains):
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
        return cls(config, *arrays_of(state, shapes))

    def analyzer(self, threads: int = 1) -> Callable[[Tensor, int], NDArray[np.int16]]:
        """`analyze_image` of torch's images, as trainings of tables take it."""
        return lambda image, quality: self.analyze_image(image.numpy(), quality, threads=threads)

    def analyze_image(self, planes: NDArray[np.uint8], quality: int, *, threads: int = 1) -> NDArray[np.int16]:
        """uint8 [C, H, W] to quantized latents, int16 [c, ceil(H / f), ceil(W / f)]."""
        return transform.analyze_quantized(
            planes, self.analysis_weight, self.analysis_bias, self.gain(quality), ROUNDING_OFFSET, self.config.levels,
            threads=threads,
        )  # fmt: skip

    def analyze_images(self, images: Tensor, quality: int) -> Tensor:
        """uint8 [N, C, H, W] to what `analyze_image` makes of each, int16 [N, c, h, w] on the images' device.

        On a GPU, by kernels of its own where NVRTC is there to compile them, some images at a time.
        """
        analyze: Callable[..., Tensor] = torch_image.analyze_quantized
        if images.is_cuda and nvrtc.is_there():
            from isthmus.kernels.cuda.wavelet import image as cuda_image

            analyze = cuda_image.analyze_quantized
        together = max(1, SAMPLES_AT_ONCE // images[0].numel())
        arguments = self.analysis_weight, self.analysis_bias, self.gain(quality), ROUNDING_OFFSET, self.config.levels
        parts = [analyze(part, *arguments) for part in torch.split(images, together)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def synthesize_image(
        self, y: NDArray[np.int16], quality: int, height: int, width: int, *, threads: int = 1
    ) -> NDArray[np.uint8]:
        """Quantized latents to uint8 [C, height, width], without the network."""
        return transform.synthesize_linear(
            y, self.synthesis_weight, self.synthesis_bias, self.step(quality), height, width, self.config.levels,
            threads=threads,
        )  # fmt: skip
