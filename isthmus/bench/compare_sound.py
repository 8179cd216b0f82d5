# SPDX-License-Identifier: Apache-2.0
"""One piece of sound through one of our codecs, beside MP3 and Opus at the same size: numbers and a picture of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.bench.compare import largest_within
from isthmus.bench.kinds.audio import heard, prepare, rate
from isthmus.bench.metrics.audio import psnr, si_sdr, top_of
from isthmus.bench.peers.ffmpeg import MP3, OPUS, FfmpegCodec, ffmpeg_codecs
from isthmus.bench.settings import describe, in_full
from isthmus.bench.sheets.audio import draw_sheet
from isthmus.codecs.walloc.audio.unit import coded_rate

LADDERS: dict[str, Sequence[int]] = {  # kbit/s
    "mp3": (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    "opus": range(6, 257),
}


@dataclass(frozen=True)
class SoundMeasurement:
    """One codec on one sound. kbps: kbit/s; psnr, si_sdr and log_mel in dB; note: what stands out, or empty."""

    codec: str
    setting: str
    bytes: int
    kbps: float
    psnr: float
    si_sdr: float
    log_mel: float
    note: str = ""


@dataclass(frozen=True)
class SoundComparison:
    """A picture as PNG, the measurements on it, ours first, and what was decoded, by codec, the original first."""

    png: bytes
    measurements: list[SoundMeasurement]
    sounds: dict[str, np.ndarray]
    sample_rate: int


def compare_sound(
    sound: np.ndarray,
    sample_rate: int,
    codec: Any,
    options: Mapping[str, Any] | None = None,
    title: str = "",
    rivals: Sequence[FfmpegCodec] | None = None,
    advance: Callable[[str], None] = lambda label: None,
) -> SoundComparison:
    """Encode and decode float32 [C, T] with `codec`, and with each rival at the largest rate of no more bytes.

    options: of `encode`. rivals: MP3 and Opus unless given; one whose smallest file is larger is shown at that, with a
    note. advance: is called once for each codec and for the picture. All are measured at 44.1 or 48 kHz, log-mel up to
    what the original can hold. Raises ValueError for a sound of no samples or a rate of no sound.
    """
    if rivals is None:
        rivals = usual_rivals()[0]
    original, facts = prepare(sound, {"sample_rate": sample_rate})
    given = {k: v for k, v in (options or {}).items() if v is not None}
    data = codec.encode(original, **facts, **given)
    sounds = {"original": original, codec.name: codec.decode(data, output="numpy")}
    found = [
        _measure(codec.name, describe(in_full(codec, given)), len(data), original, sounds[codec.name], sample_rate)
    ]
    advance(codec.name)
    for rival in rivals:
        setting, encoded = encode_within(rival, original, facts["sample_rate"], len(data))
        sounds[rival.name] = rival.decode_like(encoded, original, **facts)
        note = "its smallest file" if len(encoded) > len(data) else ""
        row = _measure(rival.name, f"{setting} kbit/s", len(encoded), original, sounds[rival.name], sample_rate, note)
        found.append(row)
        advance(rival.name)
    compared = facts["sample_rate"]
    measured_at = "" if compared == sample_rate else f", compared at {compared}"
    heads = {"original": [f"{sound.shape[1] / sample_rate:.2f} s, {sample_rate} Hz{measured_at}"]}
    heads |= {x.codec: _caption(x) for x in found}
    png = draw_sheet(sounds, heads, compared, title, top_of(sample_rate))
    advance("picture")
    return SoundComparison(png, found, sounds, compared)


def usual_rivals() -> tuple[list[FfmpegCodec], list[str]]:
    """MP3 and Opus, and a note of what of them is missing."""
    there, notes = ffmpeg_codecs()
    rivals = [rival for rival in there if rival in (MP3, OPUS)]
    return rivals, notes if len(rivals) < 2 else []


def encode_within(codec: FfmpegCodec, sound: np.ndarray, sample_rate: int, limit: int) -> tuple[int, bytes]:
    """The largest rate in kbit/s whose file takes at most `limit` bytes, and the file; the smallest if none does."""
    ladder = LADDERS.get(codec.name, codec.qualities)
    return largest_within(lambda kbps: codec.encode(sound, sample_rate=sample_rate, quality=kbps), ladder, limit)


def sound_table(measurements: Sequence[SoundMeasurement]) -> list[list[str]]:
    """The measurements as cells, a header first."""
    header = ["codec", "setting", "bytes", "kbit/s", "PSNR dB", "SI-SDR dB", "log-mel dB", ""]
    return [header] + [
        [
            x.codec,
            x.setting,
            f"{x.bytes:,}",
            f"{x.kbps:.2f}",
            f"{x.psnr:.2f}",
            f"{x.si_sdr:.2f}",
            f"{x.log_mel:.2f}",
            x.note,
        ]
        for x in measurements
    ]


def _measure(
    name: str,
    setting: str,
    size: int,
    original: np.ndarray,
    decoded: np.ndarray,
    sample_rate: int,
    note: str = "",
) -> SoundMeasurement:
    """sample_rate: of the original, before both sounds were brought to the rate that they are compared at."""
    values = psnr(original, decoded), si_sdr(original, decoded), heard(original, decoded, sample_rate=sample_rate)
    kbps = rate(size, original, {"sample_rate": coded_rate(sample_rate)})
    return SoundMeasurement(name, setting, size, kbps, *values, note)


def _caption(x: SoundMeasurement) -> list[str]:
    size = f"{x.bytes:,} bytes = {x.kbps:.2f} kbit/s" + (f" ({x.note})" if x.note else "")
    return [size, f"PSNR {x.psnr:.2f} dB, log-mel distance {x.log_mel:.2f} dB"]
