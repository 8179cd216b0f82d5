# SPDX-License-Identifier: Apache-2.0
"""What codecs of images share whose latent is one plane of integers: factorized tables or contexts, and batches."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.bitstream import TrackHeader, pack_single, unpack_single
from isthmus.codecs import planes as batch
from isthmus.codecs.base import Latent, LatentBatch, LatentSpec
from isthmus.codecs.trained import TrainedCodec, Weights
from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.entropy.models.judging import about_bytes
from isthmus.errors import CorruptStreamError
from isthmus.options import Options, option
from isthmus.signals import ImageSignal

WORTH = 8  # bytes for which a stream is of the other kind, which the batches of a data set have to sort out
CLEARLY = 1.15  # more than a judgement of a few hundredths errs by


@dataclass(frozen=True)
class ImageOptions(Options):
    """The quality is the one option byte of a stream; which entropy model it uses is its codec id."""

    quality: int = option(50, "1 to 100, larger is better.", low=1, high=100, short="q", stored=True)
    background: str | None = option(None, "Colour to lay transparent images on, such as white; else they are refused.")
    entropy: Literal["context", "factorized"] | None = option(
        None, "context makes the smallest streams, with factorized tables where these are smaller; the default where "
        "the weights hold contexts. factorized packs and unpacks several times faster.",
    )  # fmt: skip


class PlanarWeights(Weights, Protocol):
    """What a trained file holds of it."""

    @property
    def entropy(self) -> FactorizedModel:
        """Of every file."""

    @property
    def context(self) -> ContextModel | None:
        """Of files whose contexts were trained."""


class Plan(NamedTuple):
    """What the header of a stream asks for."""

    coder: FactorizedModel | ContextModel
    shape: tuple[int, int, int]  # of its latents
    quality: int


W = TypeVar("W", bound=PlanarWeights)


class PlanarCodec(TrainedCodec[W]):
    """FACTORIZED, CONTEXT: its byte formats. bounds: the least and the largest of its integers; None: 16 bits."""

    kind = "image"
    FACTORIZED: ClassVar[str]
    CONTEXT: ClassVar[str]
    bounds: ClassVar[tuple[int, int] | None] = None

    def __init__(self, name: str, weights: W, device: str) -> None:
        super().__init__(name, weights, device)
        self.takes_lists = self.device.type != "cpu"  # many images take a GPU the time of one
        self.coders: dict[str, FactorizedModel | ContextModel] = {self.FACTORIZED: weights.entropy}
        if weights.context:
            self.coders[self.CONTEXT] = weights.context
        self.codec_id = self.CONTEXT if weights.context else self.FACTORIZED

    @property
    def tables_hashes(self) -> dict[str, str]:
        """Hash of the entropy tables of each codec id that this codec reads and writes."""
        return {codec_id: coder.hash for codec_id, coder in self.coders.items()}

    @abstractmethod
    def _shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Of the latents of an image."""

    def _chosen_id(self, options: ImageOptions) -> str:
        """The byte format that options ask for. Raises ValueError where the weights do not have it."""
        known = {"factorized": self.FACTORIZED, "context": self.CONTEXT}
        codec_id = self.codec_id if options.entropy is None else known[options.entropy]
        if codec_id not in self.coders:
            there = " or ".join(repr(name) for name, codec_id in known.items() if codec_id in self.coders)
            raise ValueError(f"encode: entropy {options.entropy!r}, {self.name} has {there}")
        return codec_id

    def _header(self, codec_id: str, channels: int, height: int, width: int, options: ImageOptions) -> TrackHeader:
        signal = ImageSignal(height, width, "grey" if channels == 1 else "rgb")
        return TrackHeader(codec_id, self.coders[codec_id].hash, self.weights_hash, signal, options.pack())

    def pack(self, latent: Latent) -> bytes:
        """Latent to bytes. Raises WeightsMismatchError for a latent of other tables, ValueError for other planes."""
        plan = self.plan(latent.spec.header)
        planes = batch.plane_of(latent, plan.shape)
        self._check_given(planes)
        payload = plan.coder.encode(planes, plan.quality, latent.spec.choices)
        if latent.spec.choices is None:
            return pack_single(*self.smaller(latent.spec.header, planes, payload))
        return pack_single(latent.spec.header, payload)

    def smaller(self, header: TrackHeader, planes: NDArray[np.int16], payload: bytes) -> tuple[TrackHeader, bytes]:
        """What the encoder is free to choose: factorized tables, where contexts do not pay, as in flat images."""
        factorized = self.weights.entropy
        size = len(payload)
        if header.codec_id != self.CONTEXT or size * CLEARLY < about_bytes(factorized, planes):  # as of any photograph
            return header, payload
        if size <= factorized.least_bytes(planes) + WORTH:
            return header, payload
        other = factorized.encode(planes, self.plan(header).quality)
        if len(payload) <= len(other) + WORTH:
            return header, payload
        return replace(header, codec_id=self.FACTORIZED, tables_hash=factorized.hash), other

    def unpack(self, data: bytes) -> Latent:
        """Bytes to a `Latent`; reads and runs no network. Raises children of IsthmusError only."""
        header, payload = unpack_single(data)
        plan = self.plan(header)
        found, choices = plan.coder.decode(payload, plan.shape, plan.quality)
        y = torch.from_numpy(found)
        self._check_found(y)
        return Latent({"y": y}, LatentSpec(header, choices), self)

    def pack_batch(self, latents: Sequence[Latent]) -> list[bytes]:
        """Several latents to one stream each, those of one shape in one call of the engine."""
        return batch.pack_batch(self.plan, self.smaller, latents, self._check_given)

    def unpack_batch(
        self, data: Sequence[bytes], *, errors: Literal["raise", "return"] = "raise", device: str = "cpu"
    ) -> LatentBatch:
        """As `Codec.unpack_batch`, those of one shape in one call of the engine.

        device: "cuda" decodes factorized tables on the GPU, and says in a warning what it leaves to the CPU.
        """
        return batch.unpack_batch(self, self.plan, data, errors, device, self._check_found)

    def _wrong(self, planes: Any) -> str | None:
        """What is wrong with integers, of torch or numpy."""
        if self.bounds is None or 0 in planes.shape:
            return None
        low, high = int(planes.min()), int(planes.max())
        if self.bounds[0] <= low and high <= self.bounds[1]:
            return None
        return f"integers {low} to {high}, {self.FACTORIZED} holds {self.bounds[0]} to {self.bounds[1]}"

    def _check_given(self, planes: Any) -> None:
        wrong = self._wrong(planes)
        if wrong:
            raise ValueError(f"pack: {wrong}")

    def _check_found(self, planes: Any) -> None:
        wrong = self._wrong(planes)
        if wrong:
            raise CorruptStreamError(f"decode: {wrong}; fetch the stream again")

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
        return Plan(coder, self._shape(signal.height, signal.width), ImageOptions.unpack(header.options).quality)

    def admit(self, header: TrackHeader, options: Any) -> None:
        """Raises CorruptStreamError for more than `options.max_pixels`."""
        signal = header.signal
        pixels = signal.height * signal.width if isinstance(signal, ImageSignal) else 0
        if pixels > options.max_pixels:
            raise CorruptStreamError(
                f"decode: the header says {signal}, {pixels:,} pixels; at most {options.max_pixels:,} are decoded: "
                "raise max_pixels (`isthmus decode --max-pixels`) if you trust the stream"
            )
