# SPDX-License-Identifier: Apache-2.0
"""One photograph through one of our codecs, beside JPEG and WebP at the same size: numbers and a picture of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.bench.kinds.image import as_rgb
from isthmus.bench.medium import BenchCodec
from isthmus.bench.metrics.image import ms_ssim, psnr
from isthmus.bench.peers.pillow import JPEG, WEBP, PillowCodec, pillow_codecs
from isthmus.bench.settings import describe, in_full
from isthmus.bench.sheets.image import draw_sheet

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Measurement:
    """One codec on one image. bpp: bits per pixel; psnr in dB over RGB samples; note: what stands out, or empty."""

    codec: str
    setting: str
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """A sheet to look at, RGB, and the measurements on it, ours first."""

    sheet: "Image.Image"
    measurements: list[Measurement]


def compare(
    image: np.ndarray,
    codec: BenchCodec,
    options: Mapping[str, Any] | None = None,
    title: str = "",
    rivals: Sequence[PillowCodec] | None = None,
) -> Comparison:
    """Encode and decode `image` with `codec`, and with each rival at the largest quality of no more bytes.

    image: uint8 [H,W,3] or [H,W,1], measured at full size whatever the sheet shows. options: of `encode`. rivals: JPEG
    and WebP unless given. A rival whose smallest file is larger than ours is shown at that, with a note.
    """
    if rivals is None:
        rivals = [rival for rival in pillow_codecs()[0] if rival in (JPEG, WEBP)]
    data = codec.encode(image, **(options or {}))
    decoded = [as_rgb(codec.decode(data, output="numpy"))]
    original, shown = as_rgb(image), {k: v for k, v in (options or {}).items() if v is not None}
    measurements = [_measure(codec.name, describe(in_full(codec, shown)), data, original, decoded[0])]
    for rival in rivals:
        found, data_of_rival = encode_within(rival, image, len(data))
        decoded.append(rival.decode(data_of_rival))
        note = "its smallest file" if len(data_of_rival) > len(data) else "its largest file" if found == 100 else ""
        measurements.append(_measure(rival.name, f"quality={found}", data_of_rival, original, decoded[-1], note))
    height, width, channels = image.shape
    raw = [f"{width} x {height} pixels", f"{image.size:,} bytes = {8 * channels} bits per pixel"]
    columns = [(("original", raw), original)]
    columns += [((x.codec, _caption(x)), shown) for x, shown in zip(measurements, decoded, strict=True)]
    return Comparison(draw_sheet(columns, title), measurements)


def encode_within(codec: PillowCodec, image: np.ndarray, limit: int) -> tuple[int, bytes]:
    """The largest quality from 1 to 100 whose file takes at most `limit` bytes, and the file.

    Quality 1 if even that takes more.
    """
    return largest_within(lambda quality: codec.encode(image, quality=quality), range(1, 101), limit)


def largest_within(encode: Callable[[int], bytes], settings: Sequence[int], limit: int) -> tuple[int, bytes]:
    """The last of `settings`, of which later ones make larger files, whose file takes at most `limit` bytes; its file.

    By bisection; the first one if even that takes more.
    """
    low, high = 0, len(settings) - 1
    best = encode(settings[0])
    while low < high:
        middle = (low + high + 1) // 2
        data = encode(settings[middle])
        if len(data) <= limit:
            low, best = middle, data
        else:
            high = middle - 1
    return settings[low], best


def numbers_table(measurements: Sequence[Measurement]) -> str:
    """The measurements as aligned lines of text, for a terminal."""
    header = ["codec", "setting", "bytes", "bpp", "PSNR dB", "MS-SSIM", ""]
    return aligned([header] + [
        [x.codec, x.setting, f"{x.bytes:,}", f"{x.bpp:.3f}", f"{x.psnr:.2f}", f"{x.ms_ssim:.4f}", x.note]
        for x in measurements
    ])  # fmt: skip


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Cells in columns, the first two and the last at the left, numbers between them at the right."""
    last = len(lines[0]) - 1
    widths = [max(len(line[i]) for line in lines) for i in range(last + 1)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, 1, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _measure(
    name: str, setting: str, data: bytes, original: np.ndarray, decoded: np.ndarray, note: str = ""
) -> Measurement:
    bpp = 8 * len(data) / (original.shape[0] * original.shape[1])
    return Measurement(name, setting, len(data), bpp, psnr(original, decoded), ms_ssim(original, decoded), note)


def _caption(entry: Measurement) -> list[str]:
    size = f"{entry.bytes:,} bytes = {entry.bpp:.3f} bits per pixel"
    return [
        size + (f" ({entry.note})" if entry.note else ""),
        f"PSNR {entry.psnr:.2f} dB, MS-SSIM {entry.ms_ssim:.4f}",
    ]
