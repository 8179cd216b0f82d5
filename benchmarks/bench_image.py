# SPDX-License-Identifier: Apache-2.0
"""Speed of the image codecs on one photograph, beside Pillow's WebP and JPEG in the same process.

    python benchmarks/bench_image.py [--image FILE] [--repeats 40] [--width 768 --height 512] [--output FILE.json]

Array to bytes on one thread: our codecs with contexts, "fast" with factorized tables, and WebP and JPEG with Pillow's
defaults. Bytes to latents (`unpack`), to the linear preview and through the network, on one and on two threads. Minimum
and median of the repeats; MPix/s are million pixels a second at the median. Then fresh processes: `import isthmus`
beyond `import torch`, and the first calls, with numba's cache filled by the runs before. The default photograph ships
with the package (enlarged to fit).
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from shared.measurement import RESULTS, facts, measure, measure_together, photograph, write_json

import isthmus
from isthmus.bench.metrics.image import psnr

CODECS = {"f8c12": "walloc-image-f8c12", "f8c48": "walloc-image-f8c48"}
QUALITIES = (25, 50, 75)
GOALS = {
    "encode f8c12": 12.0,
    "encode f8c48": 12.0,
    "encode fast f8c12": 25.0,
    "encode fast f8c48": 15.0,
    "decode": 2.0,
    "import": 0.5,
}

IMPORT = """
import time
import torch
start = time.perf_counter()
import isthmus
print(time.perf_counter() - start)
"""
FIRST_CALLS = """
import json, sys, time
import numpy, torch
torch.set_num_threads(2)
image = numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8).reshape(json.loads(sys.argv[1]))
clock = [time.perf_counter()]
import isthmus
clock.append(time.perf_counter())
codec = isthmus.load(sys.argv[2])
clock.append(time.perf_counter())
data = codec.encode(image, quality=50)
clock.append(time.perf_counter())
codec.decode(data, output="numpy")
clock.append(time.perf_counter())
print(json.dumps(dict(zip(["import", "load", "encode", "decode"], numpy.diff(clock).tolist()))))
"""


def pillow_encoder(image: np.ndarray, kind: str) -> Callable[[], bytes]:
    """Array to bytes with Pillow's defaults for a format."""

    def encode() -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, kind)
        return buffer.getvalue()

    return encode


def encode_rows(image: np.ndarray, repeats: int) -> list[dict[str, Any]]:
    """Encoders in turn, one thread."""
    torch.set_num_threads(1)
    encoders: dict[str, Callable[[], bytes]] = {
        "webp, Pillow's defaults": pillow_encoder(image, "WEBP"),
        "jpeg, Pillow's defaults": pillow_encoder(image, "JPEG"),
    }
    for short, name in CODECS.items():
        codec = isthmus.load(name)
        for quality in QUALITIES:
            for label, entropy in (("", "context"), ("fast ", "factorized")):
                encoders[f"{label}{short} q{quality}"] = partial(codec.encode, image, quality=quality, entropy=entropy)
    pixels = image.shape[0] * image.shape[1]
    timed = measure_together(encoders, repeats, pixels)
    webp, jpeg = (timed[f"{kind}, Pillow's defaults"]["median_ms"] for kind in ("webp", "jpeg"))
    rows = []
    for name, encode in encoders.items():
        data = encode()
        ours = name.split(" ")[-2] in CODECS
        decoded = isthmus.decode(data, output="numpy") if ours else np.asarray(Image.open(io.BytesIO(data)))
        figures = timed[name]
        row = {
            "case": f"encode {name}",
            "threads": 1,
            **figures,
            "bpp": round(8 * len(data) / pixels, 3),
            "psnr": round(psnr(image, decoded), 2),
            "times_webp": round(webp / figures["median_ms"], 2),
            "times_jpeg": round(jpeg / figures["median_ms"], 2),
        }
        rows.append(row)
    return rows


def decode_rows(image: np.ndarray, repeats: int) -> list[dict[str, Any]]:
    """Latents, preview and full decoding at quality 50, on one and two threads."""
    pixels = image.shape[0] * image.shape[1]
    rows = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for short, name in CODECS.items():
            codec = isthmus.load(name)
            data = codec.encode(image, quality=50)
            fast = codec.encode(image, quality=50, entropy="factorized")
            cases: dict[str, tuple[Callable[[], object], int]] = {
                "unpack": (lambda codec=codec, data=data: codec.unpack(data), repeats),  # type: ignore[misc]
                "unpack fast": (lambda codec=codec, data=fast: codec.unpack(data), repeats),  # type: ignore[misc]
                "decode linear": (
                    lambda codec=codec, data=fast: codec.decode(data, synthesis="linear", output="numpy"),  # type: ignore[misc]
                    repeats,
                ),
                "decode": (
                    lambda codec=codec, data=data: codec.decode(data, output="numpy"),  # type: ignore[misc]
                    max(3, repeats // 4),
                ),
            }
            for case, (function, count) in cases.items():
                rows.append({"case": f"{case} {short} q50", "threads": threads, **measure(function, count, pixels)})
    return rows


def fresh_process(code: str, *arguments: str, data: bytes = b"") -> str:
    """Standard output of Python code in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode()


def start_up(image: np.ndarray, times: int) -> dict[str, Any]:
    """Seconds of the import and of the first calls, each the median of `times` fresh processes."""
    found: dict[str, Any] = {"processes": times}
    seconds = [float(fresh_process(IMPORT)) for _ in range(times)]
    found["import_beyond_torch"] = {"min": round(min(seconds), 3), "median": round(statistics.median(seconds), 3)}
    for short, name in CODECS.items():
        runs = [
            json.loads(fresh_process(FIRST_CALLS, json.dumps(image.shape), name, data=image.tobytes()))
            for _ in range(times)
        ]
        found[f"first_calls_{short}"] = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
    return found


def goals(rows: list[dict[str, Any]], start: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each goal with what was measured: the slowest of the qualities counts."""

    def slowest(prefix: str, threads: int, key: str = "mpix_per_s") -> float:
        return min(row[key] for row in rows if row["case"].startswith(prefix) and row["threads"] == threads)

    table: dict[str, dict[str, Any]] = {}
    for short in CODECS:
        for goal in (f"encode {short}", f"encode fast {short}"):
            table[f"{goal}, MPix/s, 1 thread"] = {"goal": GOALS[goal], "found": slowest(goal, 1)}
        table[f"encode {short}, times WebP's speed"] = {
            "goal": 1.0,
            "found": slowest(f"encode {short}", 1, "times_webp"),
        }
        table[f"decode {short}, MPix/s, 2 threads"] = {"goal": GOALS["decode"], "found": slowest(f"decode {short}", 2)}
    found = start["import_beyond_torch"]["median"]
    table["import beyond torch, s"] = {"goal": GOALS["import"], "found": found}
    for what, entry in table.items():
        less = what.startswith("import")
        entry["met"] = entry["found"] < entry["goal"] if less else entry["found"] >= entry["goal"]
    return table


def main() -> None:
    """Measure, print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, help="a photograph (default: the one that ships)")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--processes", type=int, default=5, help="fresh processes for import and first calls")
    parser.add_argument("--output", type=Path, default=RESULTS / "image.json")
    options = parser.parse_args()
    image = photograph(options.image, options.width, options.height)
    before = facts()
    rows = encode_rows(image, options.repeats) + decode_rows(image, options.repeats)
    for row in rows:
        speed = f"min {row['min_ms']:8.2f} ms  median {row['median_ms']:8.2f} ms  {row['mpix_per_s']:7.2f} MPix/s"
        more = f"  {row['bpp']:.3f} bpp  {row['psnr']:.2f} dB  {row['times_webp']:.1f}x WebP" if "bpp" in row else ""
        print(f"{row['case']:32s} {row['threads']} thread{'s' * (row['threads'] > 1):1s}  {speed}{more}")
    start = start_up(image, options.processes)
    print(json.dumps(start))
    checks = goals(rows, start)
    for what, entry in checks.items():
        print(f"{what:40s} {entry['found']:8.2f}  goal {entry['goal']:6.2f}  {'met' if entry['met'] else 'NOT MET'}")
    report = {
        "image": options.image.name if options.image else "isthmus.samples.ASTRONAUT, enlarged",
        "size": [options.width, options.height],
        "repeats": options.repeats,
        **facts(),
        "load_before": before["load"],
        "goals": checks,
        "start_up_seconds": start,
        "rows": rows,
    }
    write_json(options.output, report)


if __name__ == "__main__":
    main()
