# SPDX-License-Identifier: Apache-2.0
"""Codecs `walloc.1` and `walloc.2`: WaLLoC images, latents coded with factorized tables or contexts.

Byte format: docs/format-walloc.md.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.arrays.image import from_array, mean_of_channels, to_array
from isthmus.bitstream import TrackHeader, pack_single, unpack_single
from isthmus.codecs import planes as batch
from isthmus.codecs import together
from isthmus.codecs.base import Latent, LatentBatch, LatentSpec
from isthmus.codecs.trained import TrainedCodec
from isthmus.codecs.walloc.options import ImageDecodeOptions, ImageOptions
from isthmus.codecs.walloc.tiles import synthesize_in_tiles
from isthmus.codecs.walloc.weights import WallocWeights
from isthmus.devices import usual_settings
from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.entropy.models.judging import about_bytes
from isthmus.errors import CorruptStreamError
from isthmus.forks import torch_computes
from isthmus.kernels.wavelet.image import latent_size
from isthmus.models.walloc.image import ResidualNetwork, Walloc
from isthmus.signals import ImageSignal

FACTORIZED, CONTEXT = "walloc.1", "walloc.2"
ENTROPY = {"factorized": FACTORIZED, "context": CONTEXT}
WORTH = 8  # bytes for which a stream is of the other kind, which the batches of a data set have to sort out
CLEARLY = 1.15  # more than a judgement of a few hundredths errs by
SMALL_IMAGE = 1 << 16  # pixels below which threads cost more than they save


class Plan(NamedTuple):
    """What the header of a stream asks for."""

    coder: FactorizedModel | ContextModel
    shape: tuple[int, int, int]  # of its latents
    quality: int


class WallocImageCodec(TrainedCodec[WallocWeights]):
    """Images, uint8: torch [3, H, W] (or [1, H, W] grey, or a batch), numpy [H, W, 3], PIL.

    `quality` 1..100, larger is better, spans the whole range of the model. The bytes depend on the samples, the quality
    and the weights alone, not on threads or tiles. The network is read when it is first needed.
    """

    kind = "image"
    Options, DecodeOptions = ImageOptions, ImageDecodeOptions

    def __init__(self, name: str, weights: WallocWeights, device: str) -> None:
        if weights.config.signal_channels != 3:
            raise CorruptStreamError(f"{name}: a model of {weights.config.signal_channels} channels, images need 3")
        super().__init__(name, weights, device)
        self.takes_lists = self.device.type != "cpu"  # many images take a GPU the time of one
        self.coders: dict[str, FactorizedModel | ContextModel] = {FACTORIZED: weights.entropy}
        if weights.context:
            self.coders[CONTEXT] = weights.context
        self.codec_id = CONTEXT if weights.context else FACTORIZED

    def _placed(self, model: nn.Module) -> nn.Module:
        return super()._placed(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def tables_hashes(self) -> dict[str, str]:
        """Hash of the entropy tables of each codec id that this codec reads and writes."""
        return {codec_id: coder.hash for codec_id, coder in self.coders.items()}

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
        codec_id = self._codec_id(options)
        image = to_array(samples, background=options.background)  # [H, W, 1 or 3]
        height, width, channels = image.shape
        planes = np.broadcast_to(image.transpose(2, 0, 1), (3, height, width))
        y = self.weights.linear.analyze_image(planes, options.quality, threads=self._threads(height * width))
        header = self._header(codec_id, channels, height, width, options)
        return Latent({"y": torch.from_numpy(y)}, LatentSpec(header), self)

    def _analyze_together(self, samples: Any, options: ImageOptions) -> LatentBatch:
        codec_id = self._codec_id(options)
        with usual_settings(), torch.no_grad():
            images = together.stacked(samples, options.background, self.device)
            count, channels, height, width = images.shape
            y = self.weights.linear.analyze_images(images.expand(-1, 3, -1, -1), options.quality)
        headers = [self._header(codec_id, channels, height, width, options)] * count
        latents = batch.StackedLatents(self, y, headers, [None] * count)
        return LatentBatch(latents, stacked={"y": y})

    def _codec_id(self, options: ImageOptions) -> str:
        codec_id = self.codec_id if options.entropy is None else ENTROPY[options.entropy]
        if codec_id not in self.coders:
            known = " or ".join(repr(e) for e, codec_id in ENTROPY.items() if codec_id in self.coders)
            raise ValueError(f"encode: entropy {options.entropy!r}, {self.name} has {known}")
        return codec_id

    def _header(self, codec_id: str, channels: int, height: int, width: int, options: ImageOptions) -> TrackHeader:
        signal = ImageSignal(height, width, "grey" if channels == 1 else "rgb")
        return TrackHeader(codec_id, self.coders[codec_id].hash, self.weights_hash, signal, options.pack())

    @staticmethod
    def _threads(pixels: int) -> int:
        return 1 if pixels < SMALL_IMAGE else torch.get_num_threads()

    def pack(self, latent: Latent) -> bytes:
        """Latent to bytes. Raises WeightsMismatchError for a latent of other tables, ValueError for other planes."""
        plan = self.plan(latent.spec.header)
        planes = batch.plane_of(latent, plan.shape)
        payload = plan.coder.encode(planes, plan.quality, latent.spec.choices)
        if latent.spec.choices is None:
            return pack_single(*self.smaller(latent.spec.header, planes, payload))
        return pack_single(latent.spec.header, payload)

    def smaller(self, header: TrackHeader, planes: NDArray[np.int16], payload: bytes) -> tuple[TrackHeader, bytes]:
        """What the encoder is free to choose: factorized tables, where contexts do not pay, as in flat images."""
        factorized = self.weights.entropy
        size = len(payload)
        if header.codec_id != CONTEXT or size * CLEARLY < about_bytes(factorized, planes):  # as of any photograph
            return header, payload
        if size <= factorized.least_bytes(planes) + WORTH:
            return header, payload
        other = factorized.encode(planes, self.plan(header).quality)
        if len(payload) <= len(other) + WORTH:
            return header, payload
        return replace(header, codec_id=FACTORIZED, tables_hash=factorized.hash), other

    def unpack(self, data: bytes) -> Latent:
        """Bytes to a `Latent`; reads and runs no network. Raises children of IsthmusError only."""
        header, payload = unpack_single(data)
        plan = self.plan(header)
        y, choices = plan.coder.decode(payload, plan.shape, plan.quality)
        return Latent({"y": torch.from_numpy(y)}, LatentSpec(header, choices), self)

    def pack_batch(self, latents: Sequence[Latent]) -> list[bytes]:
        """Several latents to one stream each, those of one shape in one call of the engine."""
        return batch.pack_batch(self.plan, self.smaller, latents)

    def unpack_batch(
        self, data: Sequence[bytes], *, errors: Literal["raise", "return"] = "raise", device: str = "cpu"
    ) -> LatentBatch:
        """As `Codec.unpack_batch`, those of one shape in one call of the engine.

        device: "cuda" decodes `walloc.1` on the GPU, and says in a warning what it leaves to the CPU.
        """
        return batch.unpack_batch(self, self.plan, data, errors, device)

    def _plan(self, header: TrackHeader) -> Plan:
        """Raises WeightsMismatchError for other tables, CorruptStreamError for what this codec never writes."""
        coder = self.coders.get(header.codec_id)
        if coder is None or header.tables_hash != coder.hash:
            raise self.other_tables(header)
        signal = header.signal
        if not (isinstance(signal, ImageSignal) and signal.bit_depth == 8 and signal.layout in ("grey", "rgb")):
            raise CorruptStreamError(
                f"decode: a {header.codec_id} stream must describe an 8-bit grey or RGB image, got {header.describe()}"
            )
        config = self.weights.config
        size = latent_size(signal.height, signal.width, config.levels)
        return Plan(coder, (config.latent_channels, *size), ImageOptions.unpack(header.options).quality)

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
