# SPDX-License-Identifier: Apache-2.0
"""The one contract of all codecs: samples <-> Latent <-> bytes.

samples --analyze--> Latent --pack--> bytes        encode = pack(analyze(x))
bytes --unpack--> Latent --synthesize--> samples   decode = synthesize(unpack(b))
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isthmus.bitstream.track import TrackHeader


@dataclass(frozen=True)
class LatentSpec:
    """Everything beside the integers that the bytes hold, so that pack(unpack(data)) == data.

    header: codec id, the hashes of entropy tables and synthesis weights, signal, and options such as the quality.
    choices: what the encoder was free to choose, if the latent was unpacked; None lets `pack` choose.
    """

    header: TrackHeader
    choices: Any = None


@dataclass(frozen=True)
class Latent:
    """Named integer planes and their spec: what a codec stores, and what models train on."""

    planes: dict[str, Tensor]
    spec: LatentSpec
    codec: "Codec" = field(repr=False, compare=False)

    def dequantize(self) -> dict[str, Tensor]:
        """Float planes of the same shapes, in the scale of the analysis transform: what to learn from."""
        return self.codec.dequantize(self)


@dataclass(frozen=True)
class LatentBatch:
    """Latents of one codec, in order."""

    latents: tuple[Latent, ...]

    @property
    def planes(self) -> dict[str, Tensor]:
        """Planes stacked along a new first axis. Raises ValueError when the latents differ in shape."""
        return _stack([latent.planes for latent in self.latents])

    def dequantize(self) -> dict[str, Tensor]:
        """Dequantized planes stacked along a new first axis. Raises ValueError when the latents differ in shape."""
        return _stack([latent.dequantize() for latent in self.latents])


def _stack(planes: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    if not planes:
        raise ValueError("a batch of no latents has no planes")
    shapes = {name: {tuple(p[name].shape) for p in planes} for name in planes[0]}
    differing = {name: sorted(found) for name, found in shapes.items() if len(found) > 1}
    if differing:
        raise ValueError(f"latents of different shapes cannot be stacked: {differing}; take them one by one")
    return {name: torch.stack([p[name] for p in planes]) for name in planes[0]}


class Codec(ABC):
    """A codec with its weights. `name` is what `isthmus.load` knows it by, or the path it came from."""

    name: str
    codec_id: str

    @classmethod
    def describe_options(cls, options: bytes) -> dict[str, Any]:
        """What the option bytes of a header mean, as JSON values."""
        return {}

    @abstractmethod
    def analyze(self, samples: Any, **options: Any) -> Latent:
        """Samples to latent: the analysis transform and the quantizer, where the loss is."""

    @abstractmethod
    def synthesize(self, latent: Latent, **options: Any) -> Any:
        """Latent to samples."""

    @abstractmethod
    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        """Float planes in the scale of the analysis transform; no synthesis network runs."""

    @abstractmethod
    def pack(self, latent: Latent) -> bytes:
        """Latent to a whole stream, losslessly."""

    @abstractmethod
    def unpack(self, data: bytes) -> Latent:
        """Stream to latent; needs the entropy tables, not the synthesis weights.

        Raises CorruptStreamError, UnknownCodecError or WeightsMismatchError.
        """

    def encode(self, samples: Any, **options: Any) -> Any:
        """Samples to bytes; a batch to a list of bytes."""
        latent = self.analyze(samples, **options)
        if isinstance(latent, LatentBatch):
            return [self.pack(one) for one in latent.latents]
        return self.pack(latent)

    def decode(self, data: bytes, **options: Any) -> Any:
        """Bytes to samples."""
        return self.synthesize(self.unpack(data), **options)

    def pack_batch(self, latents: Sequence[Latent]) -> list[bytes]:
        """Several latents to one stream each."""
        return [self.pack(latent) for latent in latents]

    def unpack_batch(self, data: Sequence[bytes]) -> LatentBatch:
        """Several streams to latents, stacked on demand where their shapes agree."""
        return LatentBatch(tuple(self.unpack(one) for one in data))
