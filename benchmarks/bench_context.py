# SPDX-License-Identifier: Apache-2.0
"""What the context model buys on latents, and what it costs, beside lossless WebP of the same latents.

    python benchmarks/bench_context.py FOLDER [--last 24] [--repeats 5] [--output FILE.json]

Real bytes of whole streams with contexts and with factorized tables, and of Pillow's lossless WebP of the planes tiled
into one RGB picture, latent plus 128, on the last files of FOLDER: with its default effort, and with all of it
(quality 100, method 6). Latents beyond -128..127 are clipped for WebP alone, to its favour; how many is told. Times:
`pack` plus `unpack`, WebP's encode plus decode, one thread each, in turn; each is called once more before it is timed,
since pictures are packed one after another; medians over repeats, summed over the files. The goal of the speed is for
all qualities together.
"""

import argparse
import io
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from shared.klt_floor import read_rgb
from shared.measurement import RESULTS, facts, write_json

import isthmus
from isthmus.media.kinds import list_files

CODECS = {"f8c12": "walloc-image-f8c12", "f8c48": "walloc-image-f8c48"}
QUALITIES = (10, 30, 50, 70, 90)
EFFORTS: tuple[dict[str, int], ...] = ({}, {"quality": 100, "method": 6})
GOALS = {
    "f8c12, % fewer bytes": 14.0,
    "f8c48, % fewer bytes": 18.0,
    "f8c12, times faster than WebP": 5.0,
    "f8c48, times faster than WebP": 5.0,
}


def tile(planes: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Planes [3 n n, h, w] as one RGB picture, uint8 [n h, n w, 3]: the tiling of the `walloc` package."""
    c, h, w = planes.shape
    n = math.isqrt(c // 3)
    shifted = np.clip(planes + 128, 0, 255).astype(np.uint8)
    return shifted.reshape(3, n, n, h, w).transpose(1, 3, 2, 4, 0).reshape(n * h, n * w, 3)


def webp(picture: NDArray[np.uint8], effort: dict[str, int]) -> bytes:
    """Pillow's lossless WebP."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", lossless=True, **effort)
    return buffer.getvalue()


def medians(functions: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each, called in turn, and once before it is timed."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for found, function in zip(seconds, functions, strict=True):
            function()
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in seconds]


def row(short: str, quality: int, images: list[NDArray[np.uint8]], repeats: int) -> dict[str, Any]:
    """Bytes and seconds of one codec and quality, summed over the images."""
    codec: Any = isthmus.load(CODECS[short])
    total, seconds = np.zeros(4), np.zeros(4)
    clipped = count = pixels = 0
    for image in images:
        latents = [codec.analyze(image, quality=quality, entropy=e) for e in ("context", "factorized")]
        y = latents[0].planes["y"].numpy()
        streams = [codec.pack(latent) for latent in latents]
        picture = tile(y)
        others = [webp(picture, effort) for effort in EFFORTS]
        total += [len(data) for data in streams + others]
        pixels += image.shape[0] * image.shape[1]
        count += y.size
        clipped += int(((y < -128) | (y > 127)).sum())
        functions: list[Callable[[], object]] = [
            lambda latent=latent, data=data: (codec.pack(latent), codec.unpack(data))  # type: ignore[misc]
            for latent, data in zip(latents, streams, strict=True)
        ] + [
            lambda effort=effort, data=data: (webp(picture, effort), Image.open(io.BytesIO(data)).load())  # type: ignore[misc]  # noqa: B023
            for effort, data in zip(EFFORTS, others, strict=True)
        ]
        seconds[:-1] += medians(functions[:-1], repeats)
        seconds[-1:] += medians(functions[-1:], 1)  # takes a hundred times as long as the others
    names = ("context", "factorized", "webp", "webp_best")
    found: dict[str, Any] = {"codec": short, "quality": quality, "clipped_percent": round(100 * clipped / count, 4)}
    for name, size, time_taken in zip(names, total, seconds, strict=True):
        found[f"bpp_{name}"] = round(8 * size / pixels, 4)
        found[f"mpix_per_s_{name}"] = round(pixels / time_taken / 1e6, 2)
    for name, size, time_taken in list(zip(names, total, seconds, strict=True))[1:]:
        found[f"fewer_than_{name}_percent"] = round(100 * (1 - total[0] / size), 2)
        found[f"times_{name}"] = round(time_taken / seconds[0], 2)
    return found


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="photographs, none of them trained on")
    parser.add_argument("--last", type=int, default=24, help="only the last N files in sorted order")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "context.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = list_files(options.folder, "image", last=options.last)
    images = [read_rgb(path) for path in files]
    before = facts()
    rows = []
    for short in CODECS:
        for quality in QUALITIES:
            found = row(short, quality, images, options.repeats)
            rows.append(found)
            print(f"{short} q{quality:<3d} {found['bpp_context']:.3f} bpp,", end=" ")
            for name in ("factorized", "webp", "webp_best"):
                print(f"{name} {-found[f'fewer_than_{name}_percent']:+.1f} % x{found[f'times_{name}']:.2f};", end=" ")
            print(f"pack + unpack {found['mpix_per_s_context']:.1f} MPix/s; {found['clipped_percent']} % clipped")
    checks = {}
    for short in CODECS:
        of = [found for found in rows if found["codec"] == short]
        mean = statistics.mean(found["fewer_than_factorized_percent"] for found in of)
        ours, theirs = (sum(1 / found[f"mpix_per_s_{name}"] for found in of) for name in ("context", "webp"))
        for what, value in {"% fewer bytes": mean, "times faster than WebP": theirs / ours}.items():
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
