# SPDX-License-Identifier: Apache-2.0
"""Latents through torch's DataLoader beside JPEG: samples a second of one worker.

    python benchmarks/bench_latents.py [FOLDER] [--images 2048] [--rounds 5]

FOLDER: JPEG photographs; without one, cuts of 512 x 384 of the photograph that ships are written first. They are
transcoded twice, with factorized tables and with contexts, resized to 256 and cropped to 224: latents of 12 x 28 x 28.
All ways take turns, each in a loader with one worker, shuffled, batches of 256, and the clock starts after three
batches. Peers: the JPEG pipeline (decode, resize to 224, uint8), by Pillow and by torchvision; WebDataset of the same
streams, unpacked one by one as its users would; `datasets` with latents as float32.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from shared.jpegs import Jpegs, photographs
from shared.measurement import RESULTS, facts, write_json
from torch.utils.data import DataLoader, RandomSampler

import isthmus
from isthmus.datasets import LatentDataset, LatentIterableDataset, transcode

BATCH, WARM = 256, 3
GOALS = {  # samples a second, times the JPEG pipeline
    "LatentDataset, factorized": (10_000, 20),
    "LatentDataset, context": (3_000, 6),
    "LatentDataset, cache": (60_000, None),
}


def indexed(data: Any, workers: int, samples: int, **options: Any) -> Callable[[], Iterator[Any]]:
    """Batches of a map-style data set in random order, as many samples as wanted."""

    def batches() -> Iterator[Any]:
        sampler = RandomSampler(data, replacement=True, num_samples=samples)
        return iter(DataLoader(data, BATCH, sampler=sampler, num_workers=workers, **options))

    return batches


def streamed(data: Any, workers: int, samples: int, **options: Any) -> Callable[[], Iterator[Any]]:
    """Batches of a stream, epoch after epoch."""

    def batches() -> Iterator[Any]:
        loader = DataLoader(data, BATCH, num_workers=workers, persistent_workers=workers > 0, **options)
        taken = 0
        while taken < samples:
            for batch in loader:
                yield batch
                taken += BATCH

    return batches


def rate(batches: Iterator[Any]) -> float:
    """Samples a second, after the first few batches."""
    for _ in range(WARM):
        next(batches)
    count, start = 0, time.perf_counter()
    for batch in batches:
        count += len(batch["y"] if isinstance(batch, dict) else batch[0])
    return count / (time.perf_counter() - start)


def ways_of(folder: Path, files: list[Path], workers: int, sets: dict[str, Path]) -> dict[str, Any]:
    """Everything that is measured, by name."""
    many = {"jpeg": 4 * BATCH, "latents": 96 * BATCH, "cache": 512 * BATCH}
    ways = {f"JPEG, {d}": indexed(Jpegs(files, d), workers, many["jpeg"]) for d in ("pillow", "torchvision")}
    for entropy, path in sets.items():
        data = LatentDataset(path)
        ways[f"LatentDataset, {entropy}"] = indexed(data, workers, many["latents"])
        stream = LatentIterableDataset(path)
        ways[f"LatentIterableDataset, {entropy}"] = streamed(stream, workers, many["latents"])
    cached = LatentDataset(sets["factorized"]).cache(folder / "cache")
    assert cached[0]["y"].dtype == torch.int8
    ways["LatentDataset, cache"] = indexed(cached, workers, many["cache"])
    ways["LatentDataset, cache, collate"] = indexed(cached, workers, many["cache"], collate_fn=cached.collate)
    ways |= peers(folder, sets, workers, many["jpeg"] * 4)
    return ways


def peers(folder: Path, sets: dict[str, Path], workers: int, samples: int) -> dict[str, Any]:
    """The same through WebDataset and `datasets`, where these are installed."""
    ways: dict[str, Any] = {}
    try:
        import webdataset
    except ImportError:
        print("WebDataset is not installed")
    else:
        for entropy in sets:
            tars = sorted(map(str, (folder / f"tar-{entropy}" / "data").glob("*.tar")))
            data = webdataset.WebDataset(tars, shardshuffle=100, nodesplitter=None).shuffle(1000)
            data = data.map(_unpacked).with_epoch(samples)
            ways[f"WebDataset, {entropy}"] = lambda data=data: iter(DataLoader(data, BATCH, num_workers=workers))
    try:
        import datasets
    except ImportError:
        print("datasets is not installed")
    else:
        datasets.disable_progress_bars()
        latents = LatentDataset(sets["factorized"])
        floats = {"y": latents.dequantize(latents.collate([latents[i] for i in range(len(latents))]))["y"].numpy()}
        shape = datasets.Array3D(floats["y"].shape[1:], "float32")
        table = datasets.Dataset.from_dict(floats, features=datasets.Features({"y": shape}))
        table.save_to_disk(str(folder / "floats"))
        loaded = datasets.load_from_disk(str(folder / "floats")).with_format("torch")
        ways["datasets, float32"] = indexed(loaded, workers, samples)
    return ways


def _unpacked(sample: Any) -> dict[str, Any]:
    return {"y": isthmus.unpack(sample["ist"]).planes["y"], "key": sample["__key__"]}


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="ways whose names hold one of these; for profiling")
    parser.add_argument("--output", type=Path, default=RESULTS / "latents.json")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "jpeg").mkdir()
        files = sorted(options.folder.glob("*.jp*g"))[: options.images] if options.folder else []
        source = options.folder or folder / "jpeg"
        files = files or photographs(source, options.images)
        sets = {}
        for entropy in ("factorized", "context"):
            given: dict[str, Any] = {"codec": "walloc-image-f8c12", "resize": 256, "crop": 224, "entropy": entropy}
            sets[entropy] = folder / entropy
            transcode(source, sets[entropy], progress=False, **given)
            transcode(source, folder / f"tar-{entropy}", progress=False, format="tar", **given)
        ways = ways_of(folder, files, options.workers, sets)
        ways = {k: v for k, v in ways.items() if not options.only or any(part in k for part in options.only)}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, batches in ways.items():
                found[name].append(rate(batches()))
        sizes = {k: round(isthmus.datasets.verify(v).bytes / len(LatentDataset(v))) for k, v in sets.items()}
        jpeg = round(sum(f.stat().st_size for f in files) / len(files))
    rates = {name: statistics.median(speeds) for name, speeds in found.items()}
    base = max((rates[name] for name in rates if name.startswith("JPEG")), default=float("nan"))
    rows = [
        {"way": name, "samples_per_s": round(speed), "times_jpeg": round(speed / base, 2),
         "lowest": round(min(found[name])), "highest": round(max(found[name]))}
        for name, speed in rates.items()
    ]  # fmt: skip
    for row in rows:
        print(f"{row['way']:36s} {row['samples_per_s']:8d}/s  {row['times_jpeg']:8.2f} times JPEG's faster way")
    print(f"bytes: JPEG {jpeg}, factorized {sizes['factorized']}, context {sizes['context']}")
    goals = {}
    for way, (speed, times) in GOALS.items():
        if way in rates:
            met = rates[way] >= speed and (times is None or rates[way] >= times * base)
            goals[way] = {"goal": speed, "goal_times": times, "found": round(rates[way]), "met": met}
            print(f"{way}: {'met' if met else 'NOT MET'}")
    write_json(options.output, {
        "shape": [12, 28, 28], "images": len(files), "batch": BATCH, "workers": options.workers, **facts(),
        "bytes": {"jpeg": jpeg, **sizes}, "goals": goals, "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
