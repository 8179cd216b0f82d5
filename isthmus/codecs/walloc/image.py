# SPDX-License-Identifier: Apache-2.0
"""Codecs `walloc.1` and `walloc.2`: WaLLoC images, latents coded with factorized tables or contexts.

Byte format: docs/format.md.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.arrays.image import from_array, mean_of_channels, to_array
from isthmus.bitstream import pack_single, unpack_single
from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.base import Codec, Latent, LatentBatch, LatentSpec
from isthmus.codecs.walloc.tiles import synthesize_in_tiles
from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.errors import CorruptStreamError, WeightsMismatchError
from isthmus.kernels.wavelet import image as transform
from isthmus.models.walloc import ROUNDING_OFFSET, ResidualNetwork, Walloc, lerp_levels, quality_to_level
from isthmus.signals import ImageSignal

FACTORIZED, CONTEXT = "walloc.1", "walloc.2"
ENTROPY = {"factorized": FACTORIZED, "context": CONTEXT}
SMALL_IMAGE = 1 << 16  # pixels below which threads cost more than they save


class WallocImageCodec(Codec):
    """Images, uint8: torch [3, H, W] (or [1, H, W] grey, or a batch), numpy [H, W, 3], PIL.

    `quality` 1..100, larger is better, spans the whole range of the model. The bytes depend on the samples, the quality
    and the weights alone, not on threads or tiles.
    """

    def __init__(
        self,
        name: str,
        model: Walloc,
        entropy: FactorizedModel,
        weights_hash: str,
        device: str,
        context: ContextModel | None = None,
    ) -> None:
        for channels in (entropy.expected.shape[1], context.predictor.channels if context else None):
            if channels not in (None, model.config.latent_channels):
                raise CorruptStreamError(f"{name}: tables for {channels} channels do not fit the model")
        if model.config.signal_channels != 3:
            raise CorruptStreamError(f"{name}: a model of {model.config.signal_channels} channels, images need 3")
        self.name = name
        self.model = model.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.entropy = entropy
        self.context = context
        self._coders: dict[str, FactorizedModel | ContextModel] = {FACTORIZED: entropy}
        if context:
            self._coders[CONTEXT] = context
        self.codec_id = CONTEXT if context else FACTORIZED
        self.weights_hash = weights_hash
        self.device = torch.device(device)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        config = ", ".join(f"{k}={v}" for k, v in asdict(self.model.config).items())
        return f"{type(self).__name__}({self.name!r}, {config}, device={str(self.device)!r})"

    def __reduce__(self) -> tuple[Callable[..., Codec], tuple[str, str]]:
        from isthmus.codecs.registry import load  # workers of a data loader load by name; weights do not travel

        return load, (self.name, str(self.device))

    @property
    def tables_hashes(self) -> dict[str, str]:
        """Hash of the entropy tables of each codec id that this codec reads and writes."""
        return {codec_id: coder.hash for codec_id, coder in self._coders.items()}

    @classmethod
    def describe_options(cls, options: bytes) -> dict[str, Any]:
        return {"quality": options[0]} if len(options) == 1 else {}

    @cached_property
    def _linear(self) -> tuple[NDArray[np.float32], ...]:
        """Weight and bias of the analysis and of the linear synthesis, as the kernels take them."""
        layers = (self.model.analysis, self.model.synthesis)
        return tuple(p.detach().cpu().contiguous().numpy() for layer in layers for p in (layer.weight, layer.bias))

    def _level(self, quality: int) -> Tensor:
        return torch.tensor([quality_to_level(quality, self.model.config.gain_levels)])

    def _scale(self, table: Tensor, quality: int) -> NDArray[np.float32]:
        """exp of a row of log gains [levels, c] at a quality: float32 [c]."""
        return lerp_levels(table.detach().cpu(), self._level(quality)).exp()[0].numpy()

    def analyze(  # type: ignore[override]  # each family has options of its own
        self,
        samples: Any,
        *,
        quality: int = 50,
        background: str | None = None,
        entropy: Literal["context", "factorized"] | None = None,
    ) -> Any:
        """One image to a `Latent` with plane `y`, int16 [c, ceil(H/8), ceil(W/8)]; a batch to a `LatentBatch`.

        background: a colour name to lay transparent images on; without it they are refused.
        entropy: the entropy model that `pack` shall use: "context" makes the smallest streams and is taken where the
        weights hold one; "factorized" packs and unpacks several times faster.
        Raises ValueError or TypeError for other shapes, dtypes or qualities.
        """
        if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
            raise ValueError(f"encode: quality {quality!r}, expected an integer from 1 to 100")
        if isinstance(samples, Tensor) and samples.ndim == 4:
            return LatentBatch(
                tuple(self.analyze(x, quality=quality, background=background, entropy=entropy) for x in samples)
            )
        codec_id = self._codec_id(entropy)
        image = to_array(samples, background=background)  # [H, W, 1 or 3]
        height, width, channels = image.shape
        signal = ImageSignal(height, width, "grey" if channels == 1 else "rgb")
        planes = np.broadcast_to(image.transpose(2, 0, 1), (3, height, width))
        weight, bias, _, _ = self._linear
        y = transform.analyze_quantized(
            planes, weight, bias, self._scale(self.model.log_gain, quality), ROUNDING_OFFSET,
            self.model.config.levels, threads=self._threads(height * width),
        )  # fmt: skip
        header = TrackHeader(codec_id, self._coders[codec_id].hash, self.weights_hash, signal, bytes([quality]))
        return Latent({"y": torch.from_numpy(y)}, LatentSpec(header), self)

    def _codec_id(self, entropy: str | None) -> str:
        if entropy is None:
            return self.codec_id
        if ENTROPY.get(entropy) not in self._coders:
            known = " or ".join(repr(e) for e, codec_id in ENTROPY.items() if codec_id in self._coders)
            raise ValueError(f"encode: entropy {entropy!r}, {self.name} has {known}")
        return ENTROPY[entropy]

    @staticmethod
    def _threads(pixels: int) -> int:
        return 1 if pixels < SMALL_IMAGE else torch.get_num_threads()

    def pack(self, latent: Latent) -> bytes:
        """Latent to bytes. Raises WeightsMismatchError for a latent of other tables, ValueError for other planes."""
        header = latent.spec.header
        coder = self._coder(header)
        y = latent.planes["y"]
        shape = self._latent_shape(header)
        if tuple(y.shape) != shape or y.dtype.is_floating_point or y.dtype.is_complex:
            raise ValueError(f"pack: plane y is {y.dtype} {tuple(y.shape)}, expected integers {shape}")
        if y.dtype != torch.int16 and (int(y.min()) < -(1 << 15) or int(y.max()) >= 1 << 15):
            raise ValueError(f"pack: plane y holds {int(y.min())} to {int(y.max())}, expected values that fit int16")
        planes = np.ascontiguousarray(y.cpu().to(torch.int16).numpy())
        return pack_single(header, coder.encode(planes, header.options[0], latent.spec.choices))

    def unpack(self, data: bytes) -> Latent:
        """Bytes to a `Latent`; runs no network. Raises children of IsthmusError only."""
        header, payload = unpack_single(data)
        y, choices = self._coder(header).decode(payload, self._latent_shape(header), header.options[0])
        return Latent({"y": torch.from_numpy(y)}, LatentSpec(header, choices), self)

    def _latent_shape(self, header: TrackHeader) -> tuple[int, int, int]:
        signal, options = header.signal, header.options
        image = isinstance(signal, ImageSignal) and signal.bit_depth == 8 and signal.layout in ("grey", "rgb")
        if not image or len(options) != 1 or not 1 <= options[0] <= 100:
            raise CorruptStreamError(
                f"decode: a {header.codec_id} stream must describe an 8-bit grey or RGB image and one quality of "
                f"1..100, got {header.describe()}"
            )
        assert isinstance(signal, ImageSignal)
        rows, columns = transform.latent_size(signal.height, signal.width, self.model.config.levels)
        return self.model.config.latent_channels, rows, columns

    def _coder(self, header: TrackHeader) -> Any:
        """The entropy model that a stream or latent asks for."""
        coder = self._coders.get(header.codec_id)
        if coder is None or header.tables_hash != coder.hash:
            own = " and ".join(f"{codec_id} with {tables}" for codec_id, tables in self.tables_hashes.items())
            raise WeightsMismatchError(
                f"the stream needs codec {header.codec_id} with entropy tables {header.tables_hash}; {self.name} is "
                f"{own}; use isthmus.decode(data) or load the weights it was made with"
            )
        return coder

    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        """{"y": float32 [c, h, w]}: latents times the trained step of their channel and quality."""
        quality = latent.spec.header.options[0]
        step = torch.from_numpy(self._scale(self.model.log_step, quality))
        y = latent.planes["y"]
        return {"y": y.float() * step.to(y.device)[:, None, None]}

    def synthesize(  # type: ignore[override]
        self,
        latent: Latent,
        *,
        synthesis: Literal["network", "linear"] = "network",
        output: Literal["torch", "numpy", "pil"] = "torch",
    ) -> Any:
        """Latent to image: torch uint8 [3, H, W] ([1, H, W] for grey), numpy [H, W, 3] or PIL.

        synthesis="linear" leaves out the network: a preview at about the speed of encoding.
        Raises WeightsMismatchError for a latent made with other synthesis weights.
        """
        header = latent.spec.header
        if header.weights_hash != self.weights_hash:
            raise WeightsMismatchError(
                f"the stream was made for synthesis weights {header.weights_hash}, {self.name} has "
                f"{self.weights_hash}; load the weights it was made with"
            )
        if synthesis not in ("network", "linear"):
            raise ValueError(f"decode: synthesis {synthesis!r}, expected 'network' or 'linear'")
        signal, quality = header.signal, header.options[0]
        assert isinstance(signal, ImageSignal)
        threads = self._threads(signal.height * signal.width)
        size, levels = (signal.height, signal.width), self.model.config.levels
        if synthesis == "linear":
            _, _, weight, bias = self._linear
            y = latent.planes["y"].cpu().numpy().astype(np.int16, copy=False)
            step = self._scale(self.model.log_step, quality)
            image = transform.synthesize_linear(y, weight, bias, step, *size, levels, threads=threads)
        else:
            source = partial(self._bands, quality=quality)
            reach, count = ResidualNetwork.reach(self.model.config), self.model.config.bands
            image = synthesize_in_tiles(latent.planes["y"], source, size, levels, threads, reach, count)
        if signal.layout == "grey":
            image = mean_of_channels(image)
        return from_array(image, output)

    def _bands(self, y: Tensor, quality: int) -> NDArray[np.float32]:
        """Network synthesis of latents [c, h, w], integers, to bands [n, h, w]; floats live for a tile only."""
        step = torch.from_numpy(self._scale(self.model.log_step, quality))[:, None, None].to(self.device)
        level = self._level(quality).to(self.device)
        with torch.inference_mode(), self._lock:
            x = (y.to(self.device).float() * step)[None].contiguous(memory_format=torch.channels_last)
            return self.model.synthesize(x, level)[0].cpu().contiguous().numpy()
