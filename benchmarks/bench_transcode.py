# SPDX-License-Identifier: Apache-2.0
"""A folder of JPEG files to latents: speed beside what its parts alone allow, memory, and sizes.

    python benchmarks/bench_transcode.py PHOTOS [--count 4000] [--codec walloc-image-f8c12] [--workers 2]

PHOTOS: a folder of photographs, of which JPEG files of 512x384 pixels are cut, at random places, quality 90. Ideal: one
process decodes and encodes some of them, files and packing in groups included, alone on the machine; so many workers
would be so many times as fast. The transcoding is the whole command, from its start to its end, and beside that what it
does between its first and last shards, which is what it comes to where there are many. Memory: the peak of the
largest process, and that of the sum of all. Sizes: of JPEG files, payloads and the data set, at two qualities.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from shared.measurement import RESULTS, facts, write_json

import isthmus
from isthmus.media.image import read_image
from isthmus.media.kinds import list_files

WIDTH, HEIGHT, JPEG = 512, 384, 90
ALONE, GROUP = 512, 64


def make_files(photos: Path, folder: Path, count: int) -> list[Path]:
    """JPEG files in class folders of a thousand."""
    sources = [image for image in map(read_image, list_files(photos, "image", recursive=True)) if image.shape[2] == 3]
    sources = [image for image in sources if image.shape[0] >= HEIGHT and image.shape[1] >= WIDTH]
    chance, made = np.random.default_rng(0), []
    for number in range(count):
        image = sources[number % len(sources)]
        top, left = (
            int(chance.integers(0, side - of + 1)) for side, of in zip(image.shape, (HEIGHT, WIDTH), strict=False)
        )
        path = folder / f"class{number // 1000:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[top : top + HEIGHT, left : left + WIDTH]).save(path, quality=JPEG)
        made.append(path)
    return made


def alone(paths: list[Path], name: str, quality: int) -> dict[str, float]:
    """Samples a second of one thread, and what its parts take, in ms of a sample."""
    torch.set_num_threads(1)
    codec: Any = isthmus.load(name)
    spent = {"read": 0.0, "analyze": 0.0, "pack": 0.0}
    for _ in range(2):  # the first does not count
        spent = dict.fromkeys(spent, 0.0)
        for start in range(0, len(paths), GROUP):
            times = [time.perf_counter()]
            images = [read_image(path) for path in paths[start : start + GROUP]]
            times.append(time.perf_counter())
            latents = [codec.analyze(image, quality=quality) for image in images]
            times.append(time.perf_counter())
            codec.pack_batch(latents)
            times.append(time.perf_counter())
            for part, begun, ended in zip(spent, times, times[1:], strict=False):
                spent[part] += ended - begun
    per_sample = {f"{part}_ms": 1e3 * seconds / len(paths) for part, seconds in spent.items()}
    return {**per_sample, "samples_per_second": len(paths) / sum(spent.values())}


class Memory(threading.Thread):
    """Peaks of a process and of those that it has begun, in MB; in the sum, pages that several share count once."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.largest, self.sum = psutil.Process(process), 0.0, 0.0

    def run(self) -> None:
        while True:
            try:
                family = [self.process, *self.process.children(recursive=True)]
                found = [one.memory_full_info() for one in family]
            except psutil.Error:
                if not self.process.is_running():
                    return
                continue
            self.largest = max(self.largest, *(one.rss / 1e6 for one in found))
            self.sum = max(self.sum, sum(one.pss / 1e6 for one in found))
            time.sleep(1.0)  # looking costs a tenth of a core at twenty times a second


def transcoded(source: Path, target: Path, name: str, quality: int, workers: int) -> dict[str, float]:
    """The command, and what it made."""
    command = [sys.executable, "-m", "isthmus", "transcode", str(source), str(target), "--codec", name]
    start = time.perf_counter()
    with subprocess.Popen([*command, "--quality", str(quality), "--workers", str(workers)]) as process:
        memory = Memory(process.pid)
        memory.start()
        if process.wait():
            raise SystemExit("transcode failed")
    seconds = time.perf_counter() - start
    manifest = json.loads((target / "manifest.json").read_text())
    shards = sum(shard["bytes"] for shard in manifest["shards"])
    ended = sorted((target / shard["file"]).stat().st_mtime for shard in manifest["shards"])
    counts = manifest["count"] / len(ended)
    return {
        "quality": quality, "seconds": seconds, "samples_per_second": manifest["count"] / seconds,
        "while_running": counts * (len(ended) - 2 * workers) / (ended[-1 - workers] - ended[workers - 1]),
        "largest_process_mb": memory.largest, "all_processes_mb": memory.sum, "jpeg_bytes": manifest["bytes_in"],
        "payload_bytes": manifest["bytes_out"], "shard_bytes": shards,
        "overhead": shards / manifest["bytes_out"] - 1, "jpeg_to_set": manifest["bytes_in"] / shards,
    }  # fmt: skip


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--codec", default="walloc-image-f8c12")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--qualities", type=int, nargs=2, default=[50, 80])
    parser.add_argument("--output", type=Path, default=RESULTS / "transcode.json")
    given = parser.parse_args()
    result: dict[str, Any] = {**facts(), "count": given.count, "codec": given.codec, "workers": given.workers}
    with tempfile.TemporaryDirectory() as folder:
        paths = make_files(given.photos, Path(folder) / "photos", given.count)
        some = paths[:: max(1, len(paths) // ALONE)]
        result["alone"] = alone(some, given.codec, given.qualities[0])
        result["runs"] = [
            transcoded(Path(folder) / "photos", Path(folder) / f"q{quality}", given.codec, quality, given.workers)
            for quality in given.qualities
        ]
    ideal = given.workers * result["alone"]["samples_per_second"]
    result["share_of_ideal"] = result["runs"][0]["samples_per_second"] / ideal
    result["share_while_running"] = result["runs"][0]["while_running"] / ideal
    print(json.dumps({name: result[name] for name in result if name in ("alone", "runs") or "share" in name}, indent=1))
    write_json(given.output, result)


if __name__ == "__main__":
    main()
