# SPDX-License-Identifier: Apache-2.0
"""Codecs `bottlefit.1` and `bottlefit.2`: features of images, which a network on a server reads, coded with factorized
tables or contexts.

Byte format: docs/format-bottlefit.md.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.image import MAX_PIXELS, from_array, mean_of_channels, to_array
from isthmus.codecs import planes, together
from isthmus.codecs.base import Latent, LatentBatch
from isthmus.codecs.bottlefit.weights import BottlefitWeights
from isthmus.codecs.planar import ImageOptions, PlanarCodec
from isthmus.devices import usual_settings
from isthmus.inference import run_each
from isthmus.models.bottleneck import HIGH, LOW
from isthmus.options import DecodeOptions, option
from isthmus.signals import ImageSignal


@dataclass(frozen=True)
class BottlefitDecodeOptions(DecodeOptions):
    """Which form the picture has."""

    max_pixels: int = option(MAX_PIXELS, "Streams of larger images are refused, before memory is taken.", low=1)
    output: Literal["torch", "numpy", "pil"] = option("torch", "What samples are given as.", flag=False)


class BottlefitCodec(PlanarCodec[BottlefitWeights]):
    """Images, uint8: torch [3, H, W] (or [1, H, W] grey, or a batch), numpy [H, W, 3], PIL; latents for networks.

    A latent is plane `y`, int16 [c, ceil(H/8), ceil(W/8)] of symbols in -128..127. What `decode` gives is the best
    linear picture of it: the task decides what is sent, and it may be little of the picture. The head computes in
    integers (`isthmus.models.bottleneck.head`): streams are the same bytes on every machine.
    """

    FACTORIZED, CONTEXT, bounds = "bottlefit.1", "bottlefit.2", (LOW, HIGH)
    Options, DecodeOptions = ImageOptions, BottlefitDecodeOptions

    def _shape(self, height: int, width: int) -> tuple[int, int, int]:
        config = self.weights.config
        return config.channels, -(-height // config.factor), -(-width // config.factor)

    def analyze(self, samples: Any, **options: Any) -> Any:
        """One image to a `Latent`; a batch, a tensor [N, C, H, W] or a list, to a `LatentBatch`.

        With the codec on a GPU the images of a list MUST be of one shape. Raises ValueError or TypeError for other
        shapes, dtypes or options.
        """
        chosen = ImageOptions.of(options)
        if (isinstance(samples, Tensor) and samples.ndim == 4) or isinstance(samples, list | tuple):
            if self.takes_lists and len(samples):
                images = together.stacked(samples, chosen.background, self.device)
                return self._batch(images, chosen)
            return LatentBatch(tuple(self._analyze(image, chosen) for image in samples))
        return self._analyze(samples, chosen)

    def _analyze(self, samples: Any, options: ImageOptions) -> Latent:
        image = torch.from_numpy(to_array(samples, background=options.background).transpose(2, 0, 1).copy())
        latents: LatentBatch = self._batch(image[None], options)
        return latents.latents[0]

    def _batch(self, images: Tensor, options: ImageOptions) -> LatentBatch:
        codec_id = self._chosen_id(options)
        count, channels, height, width = images.shape
        with usual_settings():
            parts = torch.split(images, 1) if self.device.type == "cpu" else [images]
            found = run_each(lambda part: self._symbols(part, options.quality), list(parts))
            y = torch.cat(found)
        header = self._header(codec_id, channels, height, width, options)
        latents = planes.StackedLatents(self, y, [header] * count, [None] * count)
        return LatentBatch(latents, stacked={"y": y})

    def _symbols(self, images: Tensor, quality: int) -> Tensor:
        pixels = images.to(self.device).expand(-1, 3, -1, -1)
        found: Tensor = self.model.symbols(pixels, quality)
        return found.to(torch.int16)

    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        """{"y": float32 [c, h, w]}: features, as the head gave them before they were rounded."""
        y, quality = latent.planes["y"], ImageOptions.unpack(latent.spec.header.options).quality
        with torch.inference_mode(False), torch.no_grad():
            return {"y": self.model.features(y, quality)}

    def synthesize(self, latent: Latent, **options: Any) -> Any:
        """The linear picture of a latent: torch uint8 [3, H, W] ([1, H, W] for grey), numpy [H, W, 3] or PIL.

        Raises WeightsMismatchError for a latent made with other weights.
        """
        chosen, header = BottlefitDecodeOptions.of(options), latent.spec.header
        self.check_weights(header)
        self.admit(header, chosen)
        signal = header.signal
        assert isinstance(signal, ImageSignal)
        y = self.dequantize(latent)["y"][None].to(self.device)
        with usual_settings():
            found = run_each(lambda part: self.model.picture(part, signal.height, signal.width), [y])
        image = np.ascontiguousarray(found[0][0].cpu().numpy())
        if signal.layout == "grey":
            image = mean_of_channels(image)
        return from_array(image, chosen.output)
