# SPDX-License-Identifier: Apache-2.0
"""Codec `toy.1`: sound, float32 [C, T], as integers of a few bits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.audio import from_audio, to_audio
from isthmus.bitstream import NO_HASH, TrackHeader, pack_single, unpack_single
from isthmus.codecs.base import Codec, Latent, LatentSpec, check_plane
from isthmus.codecs.registry import load
from isthmus.entropy.coders import histogram
from isthmus.errors import CorruptStreamError
from isthmus.options import DecodeOptions, Options, option
from isthmus.signals import AudioSignal

CODEC_ID = "toy.1"


@dataclass(frozen=True)
class ToyOptions(Options):
    bits: int = option(8, "Bits of a sample, 2 to 16.", low=2, high=16, short="b", stored=True)
    sample_rate: int = option(44100, "Samples a second.", low=1, high=1 << 24, flag=False)


@dataclass(frozen=True)
class ToyDecodeOptions(DecodeOptions):
    output: Literal["torch", "numpy"] = option("torch", "What samples are given as.", flag=False)


class ToyCodec(Codec):
    """Sound: torch or numpy floats [C, T] or [T] in -1..1; a latent has the plane `y`, int16 [C, T]."""

    kind, codec_id = "audio", CODEC_ID
    Options, DecodeOptions = ToyOptions, ToyDecodeOptions

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device = name, torch.device(device)

    def __reduce__(self) -> tuple[Callable[..., Codec], tuple[str, str]]:
        return load, (self.name, str(self.device))

    def analyze(self, samples: Any, **options: Any) -> Latent:
        chosen, sound = ToyOptions.of(options), to_audio(samples)
        y = np.clip(np.rint(sound / self._step(chosen)), -(1 << 15), (1 << 15) - 1).astype(np.int16)
        signal = AudioSignal(chosen.sample_rate, *sound.shape)
        header = TrackHeader(CODEC_ID, NO_HASH, NO_HASH, signal, chosen.pack())
        return Latent({"y": torch.from_numpy(y)}, LatentSpec(header), self)

    def pack(self, latent: Latent) -> bytes:
        signal = latent.spec.header.signal
        y = check_plane(latent.planes.get("y"), "y", (signal.channels, signal.samples), torch.int16)
        return pack_single(latent.spec.header, histogram.encode(y.numpy()))

    def unpack(self, data: bytes) -> Latent:
        header, payload = unpack_single(data)
        signal = header.signal
        if header.codec_id != CODEC_ID or not isinstance(signal, AudioSignal) or signal.samples is None:
            raise CorruptStreamError(f"decode: a stream of {CODEC_ID} was expected, got {header.describe()}")
        ToyOptions.unpack(header.options)
        symbols = histogram.decode(payload, signal.channels * signal.samples)
        if symbols.size and not -(1 << 15) <= symbols.min() <= symbols.max() < 1 << 15:
            raise CorruptStreamError("decode: a sample does not fit 16 bits; the stream is damaged, fetch it again")
        y = symbols.astype(np.int16).reshape(signal.channels, signal.samples)
        return Latent({"y": torch.from_numpy(y)}, LatentSpec(header), self)

    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        step = self._step(ToyOptions.unpack(latent.spec.header.options))
        return {"y": latent.planes["y"].float() * step}

    def synthesize(self, latent: Latent, **options: Any) -> Any:
        chosen = ToyDecodeOptions.of(options)
        return from_audio(self.dequantize(latent)["y"].numpy(), chosen.output)

    @staticmethod
    def _step(options: ToyOptions) -> float:
        return 2.0 ** (1 - options.bits)
