# SPDX-License-Identifier: Apache-2.0
"""Peak memory of one very large image: encode, linear preview and full decode, each in a process of its own.

    python benchmarks/bench_memory.py [--width 12500 --height 8000] [--network walloc-image-f8c48] [--output FILE.json]

The default, 100 megapixels, takes some minutes, most of them in the decoder's network (run for one codec; `--network
all` runs it for every one). Peak is the resident memory of the whole process at its highest (getrusage), with Python,
torch and the image itself: 0.3 GB of samples and about 0.6 GB of libraries. The goal is at most 2 GB (10^9 bytes) in
each. Encoding runs on one and on two threads; the bytes must be equal. The image is the photograph that ships, tiled
over a slow gradient with noise, so that no two tiles are alike.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from shared.measurement import RESULTS, facts, write_json

GOAL = 2e9  # bytes
QUALITY = 50


def large_image(width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3], made tile by tile so that making it takes little more memory than it."""
    from isthmus.media.image import read_image
    from isthmus.samples import ASTRONAUT

    tile = read_image(ASTRONAUT).astype(np.int16)
    rng = np.random.default_rng(0)
    image = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, tile.shape[0]):
        for left in range(0, width, tile.shape[1]):
            part = image[top : top + tile.shape[0], left : left + tile.shape[1]]
            source = tile[: part.shape[0], : part.shape[1]]
            light = 40 * top // height - 40 * left // width
            part[:] = np.clip(source + light + rng.integers(-3, 4, source.shape, np.int16), 0, 255)
    return image


def peak_bytes() -> int:
    """Highest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def work(task: dict[str, Any]) -> dict[str, Any]:
    """One task in this process: {"do", "codec", "threads", "width", "height", "file"}."""
    import torch

    import isthmus

    torch.set_num_threads(task["threads"])
    codec = isthmus.load(task["codec"])
    file = Path(task["file"])
    report: dict[str, Any] = {}
    if task["do"] == "encode":
        image = large_image(task["width"], task["height"])
        report["before_bytes"] = peak_bytes()
        start = time.perf_counter()
        data = codec.encode(image, quality=QUALITY)
        report["seconds"] = time.perf_counter() - start
        report["peak_bytes"] = peak_bytes()
        file.write_bytes(data)
        report |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    else:
        data = file.read_bytes()
        report["before_bytes"] = peak_bytes()
        start = time.perf_counter()
        decoded = codec.decode(data, synthesis=task["do"], output="numpy")
        report["seconds"] = time.perf_counter() - start
        report["peak_bytes"] = peak_bytes()
        assert decoded.shape == (task["height"], task["width"], 3)
    return report


def in_process(task: dict[str, Any]) -> dict[str, Any]:
    """`work(task)` in a fresh process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--task", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{task['do']} {task['codec']}: process ended with status {done.returncode}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run every task, print a line each and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=12500)
    parser.add_argument("--height", type=int, default=8000)
    parser.add_argument("--network", default="walloc-image-f8c48", help="codec whose network runs; 'all' or 'none'")
    parser.add_argument("--output", type=Path, default=RESULTS / "memory.json")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)  # one task, in a child process
    options = parser.parse_args()
    if options.task:
        print(json.dumps(work(options.task)))
        return
    import isthmus

    megapixels = options.width * options.height / 1e6
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for codec in isthmus.list_codecs("image"):
            tasks = [("encode", 1), ("encode", 2), ("linear", 2)]
            if options.network in (codec, "all"):
                tasks.append(("network", 2))
            for do, threads in tasks:
                task = {"do": do, "codec": codec, "threads": threads, "file": f"{folder}/{codec}"}
                found = in_process(task | {"width": options.width, "height": options.height})
                name = {"linear": "decode, linear preview", "network": "decode"}.get(do, do)
                row = {"case": name, "codec": codec, "threads": threads, **found, "met": found["peak_bytes"] <= GOAL}
                rows.append(row)
                peak, before = row["peak_bytes"] / 1e9, row["before_bytes"] / 1e9
                speed = f"{row['seconds']:7.1f} s  {megapixels / row['seconds']:6.2f} MPix/s"
                print(
                    f"{name:24s} {codec:20s} {threads} thread{'s' * (threads > 1):1s}  peak {peak:.2f} GB "
                    f"(before {before:.2f})  {speed}  {'met' if row['met'] else 'OVER THE GOAL'}",
                    flush=True,
                )
    same = {}
    for codec in isthmus.list_codecs("image"):
        same[codec] = len({row["sha256"] for row in rows if row["codec"] == codec and row["case"] == "encode"}) == 1
        print(f"{codec}: bytes of 1 and 2 threads {'equal' if same[codec] else 'DIFFER'}")
    report = {"size": [options.width, options.height], "quality": QUALITY, "goal_bytes": GOAL, **facts()}
    write_json(options.output, report | {"same_bytes": same, "rows": rows})


if __name__ == "__main__":
    main()
