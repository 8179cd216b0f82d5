# SPDX-License-Identifier: Apache-2.0
"""Sound: kbit/s against PSNR, SI-SDR and spectral distances, beside MP3, Opus, AAC and Vorbis."""

from typing import Any

import numpy as np

from isthmus.arrays.audio import to_audio
from isthmus.bench.medium import Measure, Medium
from isthmus.bench.metrics.audio import log_mel, psnr, si_sdr, spectral, top_of
from isthmus.bench.metrics.pesq import pesq_measures
from isthmus.bench.peers.ffmpeg import ffmpeg_codecs
from isthmus.bench.peers.vorbis import vorbis_codecs
from isthmus.codecs.walloc.audio.scale import Loudness
from isthmus.codecs.walloc.audio.unit import coded_rate
from isthmus.kernels.resample.resampler import resample


class WithoutNoise:
    """One of ours without the filling in of noise, which costs PSNR and helps what is heard."""

    def __init__(self, codec: Any) -> None:
        self.codec, self.name, self.kind = codec, f"{codec.name} noise=False", codec.kind

    def encode(self, sound: np.ndarray, **options: Any) -> bytes:
        """As the codec, without levels of noise."""
        return self.codec.encode(sound, **options, noise=False)

    def decode(self, data: bytes, *, output: str = "numpy") -> np.ndarray:
        """As the codec."""
        return self.codec.decode(data, output=output)

    @property
    def Options(self) -> Any:  # noqa: N802 (as codecs have it)
        return self.codec.Options


def variants(codec: Any) -> list[Any]:
    """A codec with noise, and without it where it can."""
    return [codec, WithoutNoise(codec)] if codec.Options.has("noise") else [codec]


def prepare(sound: np.ndarray, facts: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Float32 [1 or 2, T] at 44.1 or 48 kHz, rates that all codecs take: the first two channels.

    Raises ValueError for a sound of no samples or a rate of no sound, and for samples that no codec takes.
    """
    if not sound.size:
        raise ValueError("a sound of no samples, of which nothing can be measured")
    sound = to_audio(sound[:2])
    Loudness(len(sound)).add(sound)
    rate = int(facts["sample_rate"])
    target = coded_rate(rate)
    return resample(sound, rate, target), {**facts, "sample_rate": target}


def measurable(sound: np.ndarray, facts: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """As `prepare`; raises ValueError for silence too, whose measures are infinite or say nothing."""
    found = prepare(sound, facts)
    if not np.ptp(sound[:2], 1).any():
        raise ValueError("only silence, of which nothing can be measured")
    return found


def heard(original: np.ndarray, decoded: np.ndarray, *, sample_rate: int) -> float:
    """`log_mel` of prepared sounds, up to what was recorded at `sample_rate`."""
    return log_mel(original, decoded, coded_rate(sample_rate), top_of(sample_rate))


def rate(size: int, sound: np.ndarray, facts: dict[str, Any]) -> float:
    """kbit/s of float32 [C, T]."""
    return 8e-3 * size * float(facts["sample_rate"]) / max(1, sound.shape[1])


def peers() -> tuple[list[Any], list[str]]:
    """What FFmpeg and libsndfile write, and notes of what is missing."""
    ffmpeg, vorbis = ffmpeg_codecs(), vorbis_codecs()
    return [*ffmpeg[0], *vorbis[0]], [*ffmpeg[1], *vorbis[1]]


MEDIUM = Medium(
    kind="audio",
    unit="kbit/s",
    amount_unit="MSamples",
    measures={
        "psnr": Measure(psnr, "PSNR (dB, peak scaled to 0.5)"),
        "si_sdr": Measure(si_sdr, "SI-SDR (dB)"),
        "log_mel": Measure(heard, "log-mel distance (dB, lower is better)", facts=("sample_rate",)),
        "mr_stft": Measure(spectral, "multi-resolution STFT distance (dB, lower is better)"),
        **pesq_measures(),
    },
    rate=rate,
    amount=lambda sound: sound.size / 1e6,
    size=lambda sound: f"{sound.shape[1]} samples",
    prepare=measurable,
    peers=peers,
    anchor="mp3",
    variants=variants,
)
