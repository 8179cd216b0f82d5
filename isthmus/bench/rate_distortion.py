# SPDX-License-Identifier: Apache-2.0
"""Codecs over a folder of images: bytes, quality and speed of every image at every quality, and their averages."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from isthmus.bench.metrics.image import Metric, ms_ssim, ms_ssim_db, psnr
from isthmus.bench.peers.pillow import ImageCodec
from isthmus.errors import UnreadableFileError
from isthmus.media.image import read_image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".jp2"}
QUALITIES = (5, 15, 25, 35, 45, 55, 65, 75, 85, 95)  # of a codec that names none itself

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Row:
    """One image at one quality. Seconds are thread-seconds (see `run`)."""

    codec: str
    quality: int
    image: str
    width: int
    height: int
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float
    lpips: float | None
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class CurvePoint:
    """Averages over all images of one codec at one quality.

    bpp, psnr, ms_ssim, lpips: means over images; ms_ssim_db: the mean MS-SSIM in dB; speeds: all megapixels over
    all thread-seconds.
    """

    codec: str
    quality: int
    images: int
    bpp: float
    psnr: float
    ms_ssim: float
    ms_ssim_db: float
    lpips: float | None
    encode_mpix_per_second: float
    decode_mpix_per_second: float


def list_images(path: str | os.PathLike[str], last: int | None = None) -> list[Path]:
    """Image files of a folder (not of its subfolders) sorted by name, or the one file `path`; the `last` so many.

    Raises `UnreadableFileError` if there is none.
    """
    place = Path(path)
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UnreadableFileError(f"{path}: no such folder; expected a folder of images")
    files = sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise UnreadableFileError(f"{path}: no image files; expected some of {', '.join(sorted(SUFFIXES))}")
    return files if last is None else files[-last:]


def run(
    images: Sequence[str | os.PathLike[str]],
    codecs: Sequence[ImageCodec],
    *,
    qualities: Mapping[str, Sequence[int]] | None = None,
    repeats: int = 1,
    lpips: Metric | None = None,
) -> list[Row]:
    """Encode and decode each image with each codec at each quality, and measure; one row each.

    images: files, read by `read_image`; grey ones are coded as RGB so that all codecs do the same work.
    qualities: codec name to ladder; else the codec's own `qualities`, else `QUALITIES`. repeats: calls of encode and
    of decode that are timed, of which the median counts. lpips: see `metrics.load_lpips`.

    Times are seconds of one thread: torch is held to one thread, and where a codec runs more threads of its own the
    processor time of all of them counts. A first call of each codec on each size is not timed. Progress shows on a
    terminal only.
    """
    if not images or not codecs:
        raise ValueError(f"bench: {len(images)} images and {len(codecs)} codecs; expected at least one of each")
    if repeats < 1:
        raise ValueError(f"bench: repeats is {repeats}; expected at least 1")
    ladders = {codec.name: tuple((qualities or {}).get(codec.name) or _own_ladder(codec)) for codec in codecs}
    for path in images:
        read_image(path)  # an unreadable file shows now, not after an hour
    rows: list[Row] = []
    total = len(images) * sum(len(ladder) for ladder in ladders.values())
    with _single_thread(), _progress(total) as advance:
        warm: set[tuple[str, tuple[int, ...]]] = set()
        for path in images:
            image = _as_rgb(read_image(path))
            for codec in codecs:
                if (codec.name, image.shape) not in warm:
                    codec.decode(codec.encode(image, quality=ladders[codec.name][0]), output="numpy")
                    warm.add((codec.name, image.shape))
                for quality in ladders[codec.name]:
                    rows.append(_measure(codec, quality, image, Path(path).name, repeats, lpips))
                    advance(f"{codec.name} {quality}")
    return rows


def average(rows: Sequence[Row]) -> dict[str, list[CurvePoint]]:
    """Rate-distortion curves: codec name to its points in order of rate."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.codec, row.quality), []).append(row)
    curves: dict[str, list[CurvePoint]] = {}
    for (codec, quality), group in groups.items():
        similarity = statistics.fmean(row.ms_ssim for row in group)
        distances = [row.lpips for row in group if row.lpips is not None]
        megapixels = sum(row.width * row.height for row in group) / 1e6
        point = CurvePoint(
            codec=codec,
            quality=quality,
            images=len(group),
            bpp=statistics.fmean(row.bpp for row in group),
            psnr=statistics.fmean(row.psnr for row in group),
            ms_ssim=similarity,
            ms_ssim_db=ms_ssim_db(similarity),
            lpips=statistics.fmean(distances) if distances else None,
            encode_mpix_per_second=megapixels / sum(row.encode_seconds for row in group),
            decode_mpix_per_second=megapixels / sum(row.decode_seconds for row in group),
        )
        curves.setdefault(codec, []).append(point)
    return {codec: sorted(points, key=lambda point: point.bpp) for codec, points in curves.items()}


def _own_ladder(codec: ImageCodec) -> Sequence[int]:
    ladder: Sequence[int] = getattr(codec, "qualities", QUALITIES)
    return ladder


def _measure(codec: ImageCodec, quality: int, image: np.ndarray, name: str, repeats: int, lpips: Metric | None) -> Row:
    data, encode_seconds = _timed(lambda: codec.encode(image, quality=quality), repeats)
    decoded, decode_seconds = _timed(lambda: codec.decode(data, output="numpy"), repeats)
    height, width = image.shape[:2]
    return Row(
        codec=codec.name,
        quality=quality,
        image=name,
        width=width,
        height=height,
        bytes=len(data),
        bpp=8 * len(data) / (width * height),
        psnr=psnr(image, decoded),
        ms_ssim=ms_ssim(image, decoded),
        lpips=lpips(image, decoded) if lpips else None,
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
    )


def _timed(call: Callable[[], _Result], repeats: int) -> tuple[_Result, float]:
    """Result of `call` and the median of its thread-seconds: the larger of elapsed and processor time."""
    seconds = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        result = call()
        seconds.append(max(time.perf_counter() - wall, time.process_time() - processor))
    return result, statistics.median(seconds)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


@contextmanager
def _single_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    from tqdm import tqdm

    with tqdm(total=total, unit="image", disable=not sys.stderr.isatty(), file=sys.stderr) as bar:

        def advance(label: str) -> None:
            bar.set_description_str(label, refresh=False)
            bar.update()

        yield advance
