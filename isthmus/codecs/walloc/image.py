# SPDX-License-Identifier: Apache-2.0
"""Codecs `walloc.1` and `walloc.2`: WaLLoC images, latents coded with factorized tables or contexts.

Byte format: docs/format-walloc.md.
"""

import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.arrays.image import from_array, mean_of_channels, to_array
from isthmus.codecs import planes as batch
from isthmus.codecs import together
from isthmus.codecs.base import Latent, LatentBatch, LatentSpec
from isthmus.codecs.planar import ImageOptions, PlanarCodec
from isthmus.codecs.walloc.options import ImageDecodeOptions
from isthmus.codecs.walloc.tiles import synthesize_in_tiles
from isthmus.codecs.walloc.weights import WallocWeights
from isthmus.devices import usual_settings
from isthmus.errors import CorruptStreamError
from isthmus.forks import torch_computes
from isthmus.kernels.wavelet.image import latent_size
from isthmus.models.walloc.image import ResidualNetwork, Walloc
from isthmus.signals import ImageSignal

SMALL_IMAGE = 1 << 16  # pixels below which threads cost more than they save


class WallocImageCodec(PlanarCodec[WallocWeights]):
    """Images, uint8: torch [3, H, W] (or [1, H, W] grey, or a batch), numpy [H, W, 3], PIL.

    `quality` 1..100, larger is better, spans the whole range of the model. The bytes depend on the samples, the quality
    and the weights alone, not on threads or tiles. The network is read when it is first needed.
    """

    FACTORIZED, CONTEXT = "walloc.1", "walloc.2"
    Options, DecodeOptions = ImageOptions, ImageDecodeOptions

    def __init__(self, name: str, weights: WallocWeights, device: str) -> None:
        if weights.config.signal_channels != 3:
            raise CorruptStreamError(f"{name}: a model of {weights.config.signal_channels} channels, images need 3")
        super().__init__(name, weights, device)

    def _shape(self, height: int, width: int) -> tuple[int, int, int]:
        config = self.weights.config
        return (config.latent_channels, *latent_size(height, width, config.levels))

    def _placed(self, model: nn.Module) -> nn.Module:
        return super()._placed(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def analyze(self, samples: Any, **options: Any) -> Any:
        """One image to a `Latent` with plane `y`, int16 [c, ceil(H/8), ceil(W/8)]; a batch to a `LatentBatch`.

        A batch is a tensor [N, C, H, W] or a list of images. With the codec on a GPU these MUST be of one shape; they
        are analysed there, to the integers of the CPU, and their planes stay there; a GPU without room for them is
        passed over with a warning. options: `ImageOptions`. Raises ValueError or TypeError for other shapes, dtypes or
        options.
        """
        chosen = ImageOptions.of(options)
        if (isinstance(samples, Tensor) and samples.ndim == 4) or isinstance(samples, list | tuple):
            if self.takes_lists and len(samples):
                try:
                    return self._analyze_together(samples, chosen)
                except torch.cuda.OutOfMemoryError as error:  # others may use the GPU too: a long job goes on
                    warnings.warn(f"analyze: {len(samples)} images, on the CPU, as {error}", stacklevel=2)
            return LatentBatch(tuple(self._analyze(x, chosen) for x in samples))
        return self._analyze(samples, chosen)

    def _analyze(self, samples: Any, options: ImageOptions) -> Latent:
        codec_id = self._chosen_id(options)
        image = to_array(samples, background=options.background)  # [H, W, 1 or 3]
        height, width, channels = image.shape
        planes = np.broadcast_to(image.transpose(2, 0, 1), (3, height, width))
        y = self.weights.linear.analyze_image(planes, options.quality, threads=self._threads(height * width))
        header = self._header(codec_id, channels, height, width, options)
        return Latent({"y": torch.from_numpy(y)}, LatentSpec(header), self)

    def _analyze_together(self, samples: Any, options: ImageOptions) -> LatentBatch:
        codec_id = self._chosen_id(options)
        with usual_settings(), torch.no_grad():
            images = together.stacked(samples, options.background, self.device)
            count, channels, height, width = images.shape
            y = self.weights.linear.analyze_images(images.expand(-1, 3, -1, -1), options.quality)
        headers = [self._header(codec_id, channels, height, width, options)] * count
        latents = batch.StackedLatents(self, y, headers, [None] * count)
        return LatentBatch(latents, stacked={"y": y})

    @staticmethod
    def _threads(pixels: int) -> int:
        return 1 if pixels < SMALL_IMAGE else torch.get_num_threads()

    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        """{"y": float32 [c, h, w]}: latents times the trained step of their channel and quality."""
        torch_computes()
        step = torch.from_numpy(self.weights.linear.step(ImageOptions.unpack(latent.spec.header.options).quality))
        y = latent.planes["y"]
        return {"y": y.float() * step.to(y.device)[:, None, None]}

    def synthesize(self, latent: Latent, **options: Any) -> Any:
        """Latent to image: torch uint8 [3, H, W] ([1, H, W] for grey), numpy [H, W, 3] or PIL.

        options: `ImageDecodeOptions`. Raises WeightsMismatchError for a latent made with other synthesis weights.
        """
        chosen, header = ImageDecodeOptions.of(options), latent.spec.header
        self.check_weights(header)
        self.admit(header, chosen)
        signal, quality = header.signal, ImageOptions.unpack(header.options).quality
        assert isinstance(signal, ImageSignal)
        threads = self._threads(signal.height * signal.width)
        size, linear = (signal.height, signal.width), self.weights.linear
        if chosen.synthesis == "linear":
            y = latent.planes["y"].cpu().numpy().astype(np.int16, copy=False)
            image = linear.synthesize_image(y, quality, *size, threads=threads)
        else:
            source = partial(self._bands, self.model, step=torch.from_numpy(linear.step(quality)), quality=quality)
            reach, count = ResidualNetwork.reach(linear.config), linear.config.bands
            image = synthesize_in_tiles(latent.planes["y"], source, size, linear.config.levels, threads, reach, count)
        if signal.layout == "grey":
            image = mean_of_channels(image)
        return from_array(image, chosen.output)

    def _bands(self, model: Walloc, y: Tensor, step: Tensor, quality: int) -> NDArray[np.float32]:
        """Network synthesis of latents [c, h, w], integers, to bands [n, h, w]; floats live for a tile only."""
        step, level = step[:, None, None].to(self.device), self.weights.linear.level(quality).to(self.device)
        with usual_settings(), torch.inference_mode(), self._lock:
            x = (y.to(self.device).float() * step)[None].contiguous(memory_format=torch.channels_last)
            return model.synthesize(x, level)[0].cpu().contiguous().numpy()
