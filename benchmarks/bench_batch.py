# SPDX-License-Identifier: Apache-2.0
"""Many small streams: `unpack_batch` and `pack_batch` beside the entropy engine's own batch call, and one by one.

    python benchmarks/bench_batch.py [--device cuda] [--items 256] [--repeats 60]

Crops of 224 x 224 of the photograph that ships, at quality 50: latents of 12 x 28 x 28 of walloc-image-f8c12, each a
stream of its own, and what it takes to get their integers back and to pack them again. All ways take turns in one
process. Also, in processes of their own: seconds that loading a codec takes beyond importing its package, and the first
`unpack` after that. --device cuda adds the batch decoded on the GPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared.measurement import RESULTS, facts, measure_together, write_json

import isthmus
from isthmus.bitstream import unpack_single
from isthmus.codecs.base import LatentSpec
from isthmus.media.image import read_image
from isthmus.samples import ASTRONAUT

NAME, SIDE, QUALITY = "walloc-image-f8c12", 224, 50
GOAL = 1.1  # times the engine's own call
LOAD_GOAL = 0.1  # seconds
LOADING = """
import json, sys, time
from pathlib import Path
import isthmus, isthmus.codecs.walloc
begin = time.perf_counter()
codec = isthmus.load(sys.argv[1])
loaded = time.perf_counter()
codec.unpack(sys.stdin.buffer.read())
print(json.dumps({"load": loaded - begin, "first_unpack": time.perf_counter() - loaded}))
"""


def rows_of(codec: Any, entropy: str, options: argparse.Namespace, threads: int) -> list[dict[str, Any]]:
    """Milliseconds of every way for one entropy model and number of threads."""
    torch.set_num_threads(threads)
    image, random = read_image(ASTRONAUT), np.random.default_rng(0)
    corners = random.integers(0, 512 - SIDE, (options.items, 2))
    crops = [image[y : y + SIDE, x : x + SIDE] for y, x in corners]
    streams = [codec.encode(crop, quality=QUALITY, entropy=entropy) for crop in crops]
    payloads, qualities = [unpack_single(one)[1] for one in streams], [QUALITY] * len(streams)
    latents = [codec.unpack(one) for one in streams]
    free = [isthmus.Latent(one.planes, LatentSpec(one.spec.header), codec) for one in latents]
    planes = np.stack([one.planes["y"].numpy() for one in latents])
    coder, shape = codec.coders[latents[0].spec.header.codec_id], planes.shape[1:]
    ways = {
        "engine decode_batch": lambda: coder.decode_batch(payloads, shape, qualities, threads=threads),
        "unpack_batch": lambda: codec.unpack_batch(streams).planes,
        "unpack, one by one": lambda: [codec.unpack(one) for one in streams],
        "engine encode_batch": lambda: coder.encode_batch(planes, qualities, threads=threads),
        "pack_batch": lambda: codec.pack_batch(free),
        "pack, one by one": lambda: [codec.pack(one) for one in free],
    }
    if options.device != "cpu" and entropy == "factorized":

        def on_device() -> None:
            codec.unpack_batch(streams, device=options.device)
            torch.cuda.synchronize()

        ways[f"unpack_batch on {options.device}"] = on_device
    found = measure_together(ways, options.repeats, planes.size)
    size = round(statistics.fmean(map(len, streams)))
    rows = []
    for way, figures in found.items():
        engine = found["engine encode_batch" if way == "pack_batch" or "pack," in way[:5] else "engine decode_batch"]
        rows.append({
            "way": way, "entropy": entropy, "threads": threads, "bytes": size, "ms": figures["median_ms"],
            "latents_per_s": round(options.items / figures["median_ms"] * 1e3),
            "times_engine": round(figures["median_ms"] / engine["median_ms"], 3),
        })  # fmt: skip
    return rows


def loading(stream: bytes, times: int) -> dict[str, float]:
    """Medians over fresh processes."""
    command = [sys.executable, "-c", LOADING, NAME]
    runs = [
        json.loads(subprocess.run(command, input=stream, capture_output=True, check=True).stdout) for _ in range(times)
    ]
    return {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]}


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--output", type=Path, default=RESULTS / "batch.json")
    options = parser.parse_args()
    codec: Any = isthmus.load(NAME)
    rows = []
    for threads in (1, 2):
        for entropy in ("factorized", "context"):
            rows += rows_of(codec, entropy, options, threads)
    for row in rows:
        print(
            f"{row['way']:24s} {row['entropy']:10s} {row['threads']} thread{'s' * (row['threads'] > 1):1s} "
            f"{row['ms']:8.2f} ms {row['latents_per_s']:8d}/s  {row['times_engine']:.3f} times the engine's call"
        )
    start = loading(codec.encode(read_image(ASTRONAUT), entropy="factorized"), 7)
    print(json.dumps(start))
    worst = max(row["times_engine"] for row in rows if row["way"] == "unpack_batch")
    goals = {
        "unpack_batch, times the engine's call, at worst": {"goal": GOAL, "found": worst, "met": worst <= GOAL},
        "load, s": {"goal": LOAD_GOAL, "found": start["load"], "met": start["load"] < LOAD_GOAL},
    }
    for what, entry in goals.items():
        print(f"{what}: {entry['found']} goal {entry['goal']}: {'met' if entry['met'] else 'NOT MET'}")
    write_json(options.output, {
        "items": options.items, "shape": [12, SIDE // 8, SIDE // 8], "repeats": options.repeats, **facts(),
        "device": torch.cuda.get_device_name() if options.device != "cpu" else None,
        "goals": goals, "start_up_seconds": start, "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
