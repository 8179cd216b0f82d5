# SPDX-License-Identifier: Apache-2.0
"""How many images a second a GPU trains on that two cores feed: stored latents beside JPEG.

    python benchmarks/bench_feeding.py [FOLDER] [--images 4096] [--cores 2] [--seconds 4] [--rounds 3] [--device cuda]

FOLDER: JPEG photographs; without one, cuts of 512 x 384 of the photograph that ships are written first. They are
transcoded (resized to 256, cropped to 224: latents of 12 x 28 x 28) before the process is pinned to so many cores;
there it trains, workers of loaders included: forward, backward and AdamW, in bfloat16. Two networks: that of
examples/train_on_latents.py, which hardly limits anything, and the head convnext-s. JPEG (decoded by torchvision,
resized to 224) goes through the same network, each 8x8 pixels as one token. Each way has the best of 0, 1 and 2
workers; all take turns.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from shared.jpegs import Jpegs, photographs
from shared.measurement import RESULTS, facts, write_json
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from isthmus.datasets import LatentDataset, transcode
from isthmus.models.heads import LatentInput, build_head

BATCH, CLASSES, WARM = 256, 60, 8
CODEC = "walloc-image-f8c12"
Read = Callable[[Any], Tensor]  # of a batch, float32 [n, c, 28, 28] on the device


def light(channels: int) -> nn.Module:
    """As the example has it."""
    return nn.Sequential(
        nn.Conv2d(channels, 64, 3, padding=1), nn.GELU(), nn.Conv2d(64, 64, 3, 2, padding=1), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES),
    )  # fmt: skip


def head(channels: int) -> nn.Module:
    return build_head("convnext-s", LatentInput(channels, 2, (0.0,) * channels, (1.0,) * channels), CLASSES)


NETWORKS = {"example": light, "convnext-s": head}


def trained(network: nn.Module, loader: DataLoader[Any], read: Read, seconds: float, device: str) -> float:
    """Samples a second over so many seconds."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    count, begin = 0, 0.0
    for number, batch in enumerate(loader):
        if number == WARM:
            torch.zeros(1, device=device).item()  # waits for the GPU
            count, begin = 0, time.perf_counter()
        x = read(batch)
        labels = torch.zeros(len(x), dtype=torch.long, device=device)
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            loss = F.cross_entropy(network(x).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count += len(x)
        if number > WARM and time.perf_counter() - begin > seconds:
            break
    loss.item()
    return count / (time.perf_counter() - begin)


def ways_of(files: list[Path], sets: dict[str, LatentDataset], device: str) -> dict[str, tuple[Any, int, Read]]:
    """By name: a data set, channels of what is read, and how a batch is."""

    def pixels(batch: Any) -> Tensor:
        return F.pixel_unshuffle(batch[0].to(device, non_blocking=True).float() / 64 - 2, 8)

    ways: dict[str, tuple[Any, int, Read]] = {"JPEG": (Jpegs(files, "torchvision"), 192, pixels)}
    for name, data in sets.items():
        ways[name] = data, 12, lambda batch, data=data: data.dequantize(batch["y"], device, normalize=True)
    return ways


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=RESULTS / "feeding.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "jpeg").mkdir()
        files = sorted(given.folder.glob("*.jp*g"))[: given.images] if given.folder else []
        source = given.folder or folder / "jpeg"
        files = files or photographs(source, given.images)
        sets = {}
        for entropy in ("context", "factorized"):
            transcode(source, folder / entropy, codec=CODEC, resize=256, crop=224, entropy=entropy, progress=False)
            sets[f"latents, {entropy}"] = LatentDataset(folder / entropy)
        sets["latents, cache"] = LatentDataset(folder / "factorized").cache(folder / "cache")
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
        torch.set_num_threads(given.cores)
        found: dict[tuple[str, str, int], list[float]] = {}
        for _ in range(given.rounds):
            for name, (data, channels, read) in ways_of(files, sets, given.device).items():
                for network in given.networks:
                    for workers in range(given.cores + 1):
                        sampler = RandomSampler(data, replacement=True, num_samples=1 << 30)
                        loader = DataLoader(
                            data, BATCH, sampler=sampler, num_workers=workers, pin_memory=given.device != "cpu"
                        )
                        model = NETWORKS[network](channels).to(given.device)
                        speed = trained(model, loader, read, given.seconds, given.device)
                        found.setdefault((network, name, workers), []).append(speed)
    rows = []
    for network in given.networks:
        best: dict[str, tuple[float, int]] = {}
        for (own, name, workers), speeds in found.items():
            if own == network:
                best[name] = max(best.get(name, (0.0, 0)), (statistics.median(speeds), workers))
        for name, (speed, workers) in best.items():
            times = speed / best["JPEG"][0]
            rows.append({"network": network, "way": name, "samples_per_s": speed, "workers": workers, "times": times})
            print(f"{network}, {name}: {speed:.0f} images a second with {workers} workers, {times:.1f} times JPEG")
    write_json(given.output, {**facts(), "cores": given.cores, "batch": BATCH, "rows": rows})


if __name__ == "__main__":
    main()
