# SPDX-License-Identifier: Apache-2.0
"""Photographs to latents on a GPU: what the GPU does alone, and whole data sets with it and without.

    python benchmarks/bench_transcode_gpu.py [PHOTOS] [--count 16000] [--workers 16] [--output FILE.json]

PHOTOS: a folder of photographs, of which JPEG files of 512x384 pixels are cut, as in bench_transcode.py, `--kinds`
different ones, each linked under many names; without it the photograph that ships, enlarged twofold, is cut.

Parts, of batches of `--batch` images: the kernels alone, pixels and latents on the GPU; `analyze`, from arrays to
latents there; `encode`, from arrays to streams; medians. Beside them one thread of the CPU, in ms of an image.
Whole: `transcode` with `--workers` processes, by entropy model and device. Images a second from the time when as many
shards are there as there are workers, to the time when as many are missing, so without starts; and of the whole
command. Beside them what so many processes read.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_transcode import HEIGHT, JPEG, WIDTH
from bench_weights_gpu import milliseconds
from PIL import Image
from shared.measurement import RESULTS, facts, seconds_of, write_json

import isthmus
from isthmus.entropy.models import device as on_gpu
from isthmus.kernels.cuda.wavelet import image as cuda_image
from isthmus.media.image import read_image
from isthmus.media.kinds import list_files
from isthmus.models.walloc.image import ROUNDING_OFFSET
from isthmus.samples import ASTRONAUT

CLASS = 1000  # files of a folder


def make_files(job: tuple[str, list[Path], range]) -> None:
    """JPEG files of some numbers, at random places of their photograph."""
    folder, photos, numbers = job
    images = [read_image(path) for path in photos]
    if photos == [ASTRONAUT]:
        images = [np.asarray(Image.fromarray(images[0]).resize((1024, 1024), Image.Resampling.BICUBIC))]
    for number in numbers:
        image, chance = images[number % len(images)], np.random.default_rng(number)
        top, left = (int(chance.integers(0, image.shape[a] - of + 1)) for a, of in ((0, HEIGHT), (1, WIDTH)))
        Image.fromarray(image[top : top + HEIGHT, left : left + WIDTH]).save(
            Path(folder) / f"{number:05d}.jpg", quality=JPEG
        )


def link(files: list[Path], folder: Path, count: int) -> Path:
    """A folder of `count` names in classes."""
    for number in range(count):
        place = folder / f"class{number // CLASS:03d}" / f"{number:06d}.jpg"
        if number % CLASS == 0:
            place.parent.mkdir(parents=True)
        os.link(files[number % len(files)], place)
    return folder


def reads(paths: list[Path]) -> float:
    """Images a second of a process among others that do the same: the second of two times."""
    for _ in range(2):
        start = time.perf_counter()
        for path in paths:
            read_image(path)
    return len(paths) / (time.perf_counter() - start)


def parts(files: list[Path], name: str, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """What the GPU does, and one thread of the CPU."""
    torch.set_num_threads(1)
    here: Any = isthmus.load(name)
    there: Any = isthmus.load(name, device=str(device))
    images = [read_image(path) for path in files[:batch]]
    linear = there.weights.linear
    uploaded = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).contiguous()
    arguments = linear.analysis_weight, linear.analysis_bias, linear.gain(50), ROUNDING_OFFSET, linear.config.levels
    found: dict[str, Any] = {"batch": batch}
    kernels = milliseconds([lambda: cuda_image.analyze_quantized(uploaded, *arguments)], repeats)
    found["kernels_images_per_s"] = 1e3 * len(images) / kernels
    latents = there.analyze(images).planes["y"]
    single = np.stack([here.analyze(image).planes["y"].numpy() for image in images])
    found["integers"], found["differing"] = latents.numel(), int((latents.cpu().numpy() != single).sum())
    packing = milliseconds([lambda: on_gpu.encode_batch(there.weights.entropy, latents, [50] * batch)], repeats)
    found["packing_images_per_s"] = 1e3 * len(images) / packing

    def analyzed() -> None:
        there.analyze(images, entropy="factorized")
        torch.cuda.synchronize()

    for what, call in (
        ("analyze", analyzed),
        ("encode_factorized", lambda: there.encode(images, entropy="factorized")),
        ("encode_context", lambda: there.encode(images, entropy="context")),
    ):
        found[f"{what}_images_per_s"] = len(images) / statistics.median(seconds_of(call, repeats))
    found["exact"] = all(there.encode(images, entropy=e) == here.encode(images, entropy=e) for e in on_cpu(here))
    one = statistics.median(seconds_of(lambda: [read_image(path) for path in files[:batch]], 3))
    found["cpu_ms"] = {"read": 1e3 * one / batch, "analyze": cpu(lambda: [here.analyze(x) for x in images], batch)}
    for e in on_cpu(here):
        made = here.analyze(images, entropy=e).latents
        found["cpu_ms"][f"pack_{e}"] = cpu(lambda made=made: here.pack_batch(made), batch)
    read = found["cpu_ms"]["read"]
    found["share_of_reading"] = {
        e: read / (read + found["cpu_ms"]["analyze"] + found["cpu_ms"][f"pack_{e}"]) for e in on_cpu(here)
    }
    return found


def on_cpu(codec: Any) -> tuple[str, ...]:
    return ("factorized", "context") if len(codec.coders) > 1 else ("factorized",)


def cpu(call: Any, count: int) -> float:
    """Milliseconds of an image."""
    return 1e3 * statistics.median(seconds_of(call, 3)) / count


def transcoded(source: Path, target: Path, given: argparse.Namespace, entropy: str, device: str) -> dict[str, Any]:
    """The command, and when its shards came."""
    command = [sys.executable, "-m", "isthmus", "transcode", str(source), str(target), "--codec", given.codec]
    command += ["--workers", str(given.workers), "--entropy", entropy, "--device", device]
    start = time.perf_counter()
    subprocess.run([*command, "--shard-size", str(given.shard_size)], check=True)
    seconds = time.perf_counter() - start
    times = sorted(shard.stat().st_mtime for shard in (target / "data").iterdir())
    between = times[given.workers - 1 : -given.workers]
    rate = (len(between) - 1) * given.shard_size / (between[-1] - between[0])
    return {
        "entropy": entropy, "device": device, "seconds": seconds, "images_per_s": rate,
        "images_per_s_with_start": given.count / seconds,
    }  # fmt: skip


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=16_000)
    parser.add_argument("--kinds", type=int, default=2000)
    parser.add_argument("--codec", default="walloc-image-f8c12")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--shard-size", type=int, default=125)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS / "transcode_gpu.json")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_transcode_gpu: no CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    result: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(device), **facts(), "codec": given.codec, "count": given.count,
        "workers": given.workers,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        (folder / "kinds").mkdir()
        photos = list_files(given.photos, "image", recursive=True) if given.photos else [ASTRONAUT]
        jobs = [(str(folder / "kinds"), photos, range(k, given.kinds, given.workers)) for k in range(given.workers)]
        with ProcessPoolExecutor(given.workers) as pool:
            list(pool.map(make_files, jobs))
            files = sorted((folder / "kinds").iterdir())
            result["reading_images_per_s"] = sum(
                pool.map(reads, [files[k :: given.workers] for k in range(given.workers)])
            )
        result["jpeg_bytes_each"] = sum(f.stat().st_size for f in files) / len(files)
        result["parts"] = [parts(files, given.codec, batch, given.repeats, device) for batch in given.batch]
        print(json.dumps(result["parts"], indent=1), flush=True)
        source = link(files, folder / "photos", given.count)
        result["whole"] = []
        for entropy in ("factorized", "context"):
            for where in ("cpu", "cuda"):
                row = transcoded(source, folder / f"{entropy}-{where}", given, entropy, where)
                result["whole"].append(row)
                print(json.dumps(row), flush=True)
                write_json(given.output, result)


if __name__ == "__main__":
    main()
