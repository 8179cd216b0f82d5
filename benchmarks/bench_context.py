# SPDX-License-Identifier: Apache-2.0
"""What the context model buys on latents, and what it costs, beside lossless WebP of the same latents.

    python benchmarks/bench_context.py FOLDER [--last 24] [--repeats 5] [--output FILE.json]

Real bytes of whole streams with contexts and with factorized tables, and of Pillow's lossless WebP (its default effort)
of the planes tiled into one picture, latent plus 128, on the last files of FOLDER. Latents beyond -128..127 are clipped
for WebP alone, which is to its favour; how many is told. Times: `pack` plus `unpack`, WebP's encode plus decode, one
thread each, in turn; medians over repeats, summed over the files.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from klt_floor import read_rgb
from measurement import RESULTS, facts, write_json
from numpy.typing import NDArray
from PIL import Image

import isthmus
from isthmus.bench import rate_distortion

CODECS = {"f8c12": "walloc-image-f8c12", "f8c48": "walloc-image-f8c48"}
QUALITIES = (10, 30, 50, 70, 90)
COLUMNS = {"f8c12": 4, "f8c48": 8}
GOALS = {
    "f8c12, % fewer bytes": 14.0,
    "f8c48, % fewer bytes": 18.0,
    "f8c12, times faster than WebP": 5.0,
    "f8c48, times faster than WebP": 5.0,
}


def tile(planes: NDArray[np.int16], columns: int) -> NDArray[np.uint8]:
    """Planes [C, h, w] side by side in one picture, uint8 [C / columns * h, columns * w]."""
    c, h, w = planes.shape
    shifted = np.clip(planes + 128, 0, 255).astype(np.uint8)
    return shifted.reshape(c // columns, columns, h, w).transpose(0, 2, 1, 3).reshape(c // columns * h, columns * w)


def webp(picture: NDArray[np.uint8]) -> bytes:
    """Pillow's lossless WebP."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def medians(functions: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each, called in turn."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for found, function in zip(seconds, functions, strict=True):
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in seconds]


def row(short: str, quality: int, images: list[NDArray[np.uint8]], repeats: int) -> dict[str, Any]:
    """Bytes and seconds of one codec and quality, summed over the images."""
    codec: Any = isthmus.load(CODECS[short])
    total = np.zeros(3)
    seconds = np.zeros(3)
    clipped = count = pixels = 0
    for image in images:
        latents = [codec.analyze(image, quality=quality, entropy=e) for e in ("context", "factorized")]
        y = latents[0].planes["y"].numpy()
        streams = [codec.pack(latent) for latent in latents]
        picture = tile(y, COLUMNS[short])
        other = webp(picture)
        total += [*map(len, streams), len(other)]
        pixels += image.shape[0] * image.shape[1]
        count += y.size
        clipped += int(((y < -128) | (y > 127)).sum())
        functions: list[Callable[[], object]] = [
            lambda latent=latent, data=data: (codec.pack(latent), codec.unpack(data))  # type: ignore[misc]
            for latent, data in zip(latents, streams, strict=True)
        ]
        functions.append(lambda picture=picture, data=other: (webp(picture), Image.open(io.BytesIO(data)).load()))  # type: ignore[misc]
        seconds += medians(functions, repeats)
    context, factorized, peer = total
    return {
        "codec": short,
        "quality": quality,
        "bpp_context": round(8 * context / pixels, 4),
        "bpp_factorized": round(8 * factorized / pixels, 4),
        "bpp_lossless_webp": round(8 * peer / pixels, 4),
        "fewer_than_factorized_percent": round(100 * (1 - context / factorized), 2),
        "fewer_than_webp_percent": round(100 * (1 - context / peer), 2),
        "mpix_per_s_context": round(pixels / seconds[0] / 1e6, 2),
        "mpix_per_s_factorized": round(pixels / seconds[1] / 1e6, 2),
        "mpix_per_s_lossless_webp": round(pixels / seconds[2] / 1e6, 2),
        "times_webp": round(seconds[2] / seconds[0], 2),
        "clipped_percent": round(100 * clipped / count, 4),
    }


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="photographs, none of them trained on")
    parser.add_argument("--last", type=int, default=24, help="only the last N files in sorted order")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "context.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = rate_distortion.list_images(options.folder, options.last)
    images = [read_rgb(path) for path in files]
    before = facts()
    rows = []
    for short in CODECS:
        for quality in QUALITIES:
            found = row(short, quality, images, options.repeats)
            rows.append(found)
            print(
                f"{short} q{quality:<3d} bpp {found['bpp_context']:.3f} context, "
                f"{found['bpp_factorized']:.3f} factorized, {found['bpp_lossless_webp']:.3f} WebP: {-found['fewer_than_factorized_percent']:+.1f} % and"
                f" {-found['fewer_than_webp_percent']:+.1f} %; pack + unpack {found['mpix_per_s_context']:.1f},"
                f" {found['mpix_per_s_factorized']:.1f}, {found['mpix_per_s_lossless_webp']:.2f} MPix/s:"
                f" {found['times_webp']:.1f}x WebP; {found['clipped_percent']} % clipped"
            )
    checks = {}
    for short in CODECS:
        of = [found for found in rows if found["codec"] == short]
        mean = statistics.mean(found["fewer_than_factorized_percent"] for found in of)
        for what, value in {"% fewer bytes": mean, "times faster than WebP": min(r["times_webp"] for r in of)}.items():
            goal = GOALS[f"{short}, {what}"]
            checks[f"{short}, {what}"] = {"goal": goal, "found": round(value, 2), "met": bool(value >= goal)}
    for what, check in checks.items():
        print(f"{what:32s} {check['found']:8.2f}  goal {check['goal']:6.2f}  {'met' if check['met'] else 'NOT MET'}")
    report = {
        "command": "python benchmarks/bench_context.py FOLDER",
        "images": [path.stem for path in files],
        **facts(),
        "load_before": before["load"],
        "goals": checks,
        "rows": rows,
    }
    write_json(options.output, report)


if __name__ == "__main__":
    main()
