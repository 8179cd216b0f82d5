# SPDX-License-Identifier: Apache-2.0
"""Kills a transcoding again and again, workers or who begins them, then the whole job, and compares what comes of it.

    python benchmarks/kill_transcode.py [--times 100] [--count 400] [--seed 0]

Each time: a job begins into an empty folder; at a random moment one of its workers is killed, at a random moment after
that the job itself (SIGKILL), up to three times; then a job runs to its end. Every file of the data set must be that of
a run that nobody disturbed, byte for byte, and every sample must be there once.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from isthmus.datasets import shards
from isthmus.datasets.storage import Place
from isthmus.samples import ASTRONAUT

SIDE = 96


def make_photos(folder: Path, count: int) -> None:
    image, chance = Image.open(ASTRONAUT).convert("RGB"), np.random.default_rng(1)
    folder.mkdir()
    for number in range(count):
        left, top = (int(n) for n in chance.integers(0, 512 - SIDE, 2))
        image.crop((left, top, left + SIDE, top + SIDE)).save(folder / f"{number:05d}.jpg", quality=90)


def begin(source: Path, target: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "isthmus", "transcode", str(source), str(target), "--codec", "walloc-image-f8c12"]
    return subprocess.Popen([*command, "--workers", "2", "--shard-size", "8"], stderr=subprocess.DEVNULL)


def wait_for_shards(target: Path, count: int, job: "subprocess.Popen[bytes]") -> None:
    while job.poll() is None and len(list(target.glob("data/*.parquet"))) < count:
        time.sleep(0.005)


def disturb(source: Path, target: Path, chance: random.Random) -> None:
    """A job of which a worker is killed, then all of it."""
    there = len(list(target.glob("data/*.parquet")))
    job = begin(source, target)
    wait_for_shards(target, there + chance.randrange(8), job)
    time.sleep(chance.random() * 0.2)
    try:
        family = psutil.Process(job.pid).children(recursive=True)  # workers, and the server that forks them
        workers = [p for p in family if re.search("forkserver|spawn_main", " ".join(p.cmdline()))]
        if workers:
            os.kill(chance.choice(workers).pid, signal.SIGKILL)
    except psutil.Error:
        pass
    time.sleep(chance.random())
    job.kill()
    job.wait()


def files(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def main() -> None:
    """Run, and say how often it was right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance, disturbed = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "photos", Path(folder) / "latents"
        make_photos(source, given.count)
        if begin(source, Path(folder) / "undisturbed").wait():
            raise SystemExit("the undisturbed run failed")
        expected = files(Path(folder) / "undisturbed")
        for number in range(given.times):
            for _ in range(chance.randint(1, 3)):
                disturb(source, target, chance)
                disturbed += 1
            if begin(source, target).wait():
                raise SystemExit(f"time {number}: the last run failed")
            place = Place(target)
            keys = [row["key"] for name in place.files("data") for row in shards.rows(place, f"data/{name}")]
            if files(target) != expected or len(keys) != len(set(keys)) or len(keys) != given.count:
                raise SystemExit(
                    f"time {number}: the data set differs: {sorted(files(target).keys() ^ expected.keys())}"
                )
            shutil.rmtree(target)
            print(
                f"{number + 1} of {given.times}, {disturbed} jobs killed: all samples once, all bytes equal", flush=True
            )


if __name__ == "__main__":
    main()
