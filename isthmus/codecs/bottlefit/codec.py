# SPDX-License-Identifier: Apache-2.0
"""Codec `bottlefit.1`: features of images, which a network on a server reads. Byte format: docs/format-bottlefit.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.image import MAX_PIXELS, from_array, mean_of_channels, to_array
from isthmus.bitstream import TrackHeader, pack_single, unpack_single
from isthmus.codecs import planes, together
from isthmus.codecs.base import Latent, LatentBatch, LatentSpec
from isthmus.codecs.bottlefit.weights import BottlefitWeights
from isthmus.codecs.trained import TrainedCodec
from isthmus.devices import usual_settings
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.errors import CorruptStreamError
from isthmus.inference import run_each
from isthmus.models.bottleneck import HIGH, LOW
from isthmus.options import DecodeOptions, Options, option
from isthmus.signals import ImageSignal

CODEC_ID = "bottlefit.1"


@dataclass(frozen=True)
class BottlefitOptions(Options):
    """The quality is the one option byte of a stream."""

    quality: int = option(50, "1 to 100, larger is better.", low=1, high=100, short="q", stored=True)
    background: str | None = option(None, "Colour to lay transparent images on, such as white; else they are refused.")


@dataclass(frozen=True)
class BottlefitDecodeOptions(DecodeOptions):
    """Which form the picture has."""

    max_pixels: int = option(MAX_PIXELS, "Streams of larger images are refused, before memory is taken.", low=1)
    output: Literal["torch", "numpy", "pil"] = option("torch", "What samples are given as.", flag=False)


class Plan(NamedTuple):
    """What the header of a stream asks for."""

    coder: FactorizedModel
    shape: tuple[int, int, int]
    quality: int


class BottlefitCodec(TrainedCodec[BottlefitWeights]):
    """Images, uint8: torch [3, H, W] (or [1, H, W] grey, or a batch), numpy [H, W, 3], PIL; latents for networks.

    A latent is plane `y`, int16 [c, ceil(H/8), ceil(W/8)] of symbols in -128..127. What `decode` gives is the best
    linear picture of it: the task decides what is sent, and it may be little of the picture. The head computes in
    integers (`isthmus.models.bottleneck.head`): streams are the same bytes on every machine.
    """

    kind, codec_id = "image", CODEC_ID
    Options, DecodeOptions = BottlefitOptions, BottlefitDecodeOptions

    def __init__(self, name: str, weights: BottlefitWeights, device: str) -> None:
        super().__init__(name, weights, device)
        self.takes_lists = self.device.type != "cpu"

    @property
    def tables_hashes(self) -> dict[str, str]:
        """Hash of the entropy tables of each codec id that this codec reads and writes."""
        return {CODEC_ID: self.weights.entropy.hash}

    def analyze(self, samples: Any, **options: Any) -> Any:
        """One image to a `Latent`; a batch, a tensor [N, C, H, W] or a list, to a `LatentBatch`.

        With the codec on a GPU the images of a list MUST be of one shape. Raises ValueError or TypeError for other
        shapes, dtypes or options.
        """
        chosen = BottlefitOptions.of(options)
        if (isinstance(samples, Tensor) and samples.ndim == 4) or isinstance(samples, list | tuple):
            if self.takes_lists and len(samples):
                images = together.stacked(samples, chosen.background, self.device)
                return self._batch(images, chosen)
            return LatentBatch(tuple(self._analyze(image, chosen) for image in samples))
        return self._analyze(samples, chosen)

    def _analyze(self, samples: Any, options: BottlefitOptions) -> Latent:
        image = torch.from_numpy(to_array(samples, background=options.background).transpose(2, 0, 1).copy())
        latents: LatentBatch = self._batch(image[None], options)
        return latents.latents[0]

    def _batch(self, images: Tensor, options: BottlefitOptions) -> LatentBatch:
        count, channels, height, width = images.shape
        with usual_settings():
            parts = torch.split(images, 1) if self.device.type == "cpu" else [images]
            found = run_each(lambda part: self._symbols(part, options.quality), list(parts))
            y = torch.cat(found)
        signal = ImageSignal(height, width, "grey" if channels == 1 else "rgb")
        header = TrackHeader(CODEC_ID, self.weights.entropy.hash, self.weights_hash, signal, options.pack())
        latents = planes.StackedLatents(self, y, [header] * count, [None] * count)
        return LatentBatch(latents, stacked={"y": y})

    def _symbols(self, images: Tensor, quality: int) -> Tensor:
        pixels = images.to(self.device).expand(-1, 3, -1, -1)
        found: Tensor = self.model.symbols(pixels, quality)
        return found.to(torch.int16)

    def pack(self, latent: Latent) -> bytes:
        """Latent to bytes. Raises WeightsMismatchError for a latent of other tables, ValueError for other planes."""
        plan = self.plan(latent.spec.header)
        y = planes.plane_of(latent, plan.shape)
        if y.size and not LOW <= y.min() <= y.max() <= HIGH:
            raise ValueError(f"pack: symbols {y.min()} to {y.max()}, {CODEC_ID} holds {LOW} to {HIGH}")
        return pack_single(latent.spec.header, plan.coder.encode(y, plan.quality, latent.spec.choices))

    def unpack(self, data: bytes) -> Latent:
        """Bytes to a `Latent`; runs no network. Raises children of IsthmusError only."""
        header, payload = unpack_single(data)
        plan = self.plan(header)
        found, choices = plan.coder.decode(payload, plan.shape, plan.quality)
        y = torch.from_numpy(found)
        self._check(y)
        return Latent({"y": y}, LatentSpec(header, choices), self)

    def unpack_batch(
        self, data: Sequence[bytes], *, errors: Literal["raise", "return"] = "raise", device: str = "cpu"
    ) -> LatentBatch:
        """As `Codec.unpack_batch`, those of one shape in one call of the engine."""
        return planes.unpack_batch(self, self.plan, data, errors, device, self._check)

    @staticmethod
    def _check(y: Tensor) -> None:
        low, high = (int(y.min()), int(y.max())) if y.numel() else (0, 0)
        if not LOW <= low <= high <= HIGH:
            raise CorruptStreamError(
                f"decode: symbols {low} to {high}, {CODEC_ID} holds {LOW} to {HIGH}; fetch the stream again"
            )

    def _plan(self, header: TrackHeader) -> Plan:
        """Raises WeightsMismatchError for other tables, CorruptStreamError for what this codec never writes."""
        if header.codec_id != CODEC_ID or header.tables_hash != self.weights.entropy.hash:
            raise self.other_tables(header)
        signal = header.signal
        if not (isinstance(signal, ImageSignal) and signal.bit_depth == 8 and signal.layout in ("grey", "rgb")):
            raise CorruptStreamError(
                f"decode: a {CODEC_ID} stream must describe an 8-bit grey or RGB image, got {header.describe()}"
            )
        factor = self.weights.config.factor
        shape = (self.weights.config.channels, -(-signal.height // factor), -(-signal.width // factor))
        return Plan(self.weights.entropy, shape, BottlefitOptions.unpack(header.options).quality)

    def admit(self, header: TrackHeader, options: Any) -> None:
        """Raises CorruptStreamError for more than `options.max_pixels`."""
        signal = header.signal
        pixels = signal.height * signal.width if isinstance(signal, ImageSignal) else 0
        if pixels > options.max_pixels:
            raise CorruptStreamError(
                f"decode: the header says {signal}, {pixels:,} pixels; at most {options.max_pixels:,} are decoded: "
                "raise max_pixels (`isthmus decode --max-pixels`) if you trust the stream"
            )

    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        """{"y": float32 [c, h, w]}: features, as the head gave them before they were rounded."""
        y, quality = latent.planes["y"], BottlefitOptions.unpack(latent.spec.header.options).quality
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
