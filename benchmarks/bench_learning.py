# SPDX-License-Identifier: Apache-2.0
"""What a classifier learns from latents, and from pixels of as many numbers, by the same head and the same loop.

    python benchmarks/bench_learning.py TRAIN VALIDATION [--heads convnext-s vit-s] [--seeds 3] [--epochs 40]
        [--resize 256] [--device cuda] [--processes 6] [--output FILE.json]

TRAIN and VALIDATION: folders of class folders of photographs; 224x224 pixels of each are used (shorter side 256, the
middle). Each input is a grid of 28x28 tokens: latents of walloc-image-f8c12 at three qualities (12 numbers a token),
pixels scaled to 56x56 (12 numbers), JPEG files of as many bytes as the latents at quality 50, scaled likewise, and all
224x224 pixels (192 numbers: the ceiling). No flips, crops of 24x24 tokens, MixUp and CutMix for all. Accuracies are of
VALIDATION, mean and deviation over seeds, with paired bootstrap intervals against scaled pixels.
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from shared.learning import Grids, train
from shared.measurement import RESULTS, facts, write_json

import isthmus
from isthmus.datasets import LatentDataset, transcode
from isthmus.datasets.settings import Settings
from isthmus.datasets.views import views_of
from isthmus.media.image import read_image
from isthmus.training.heads import HeadRecipe
from isthmus.training.heads.evaluation import Evaluated

CODEC, QUALITIES, SIDE, TOKENS = "walloc-image-f8c12", (20, 50, 100), 224, 28
ANCHOR = f"pixels, {SIDE // 4}x{SIDE // 4}"
SHAPE = Settings(CODEC, "image", "", crop=SIDE)
RECIPE = HeadRecipe(flip=0.0, crop=24)


def tokens(images: np.ndarray) -> np.ndarray:
    """uint8 [n, side, side, 3] to int16 [n, 3 (side / 28)^2, 28, 28]: the pixels of each of 28x28 cells as channels."""
    n, side = images.shape[:2]
    k = side // TOKENS
    cells = images.reshape(n, TOKENS, k, TOKENS, k, 3).transpose(0, 2, 4, 5, 1, 3)
    return np.ascontiguousarray(cells.reshape(n, -1, TOKENS, TOKENS)).astype(np.int16)


def photographs(folder: Path, resize: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """uint8 [n, 224, 224, 3], labels and the names of classes."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    images, labels = [], []
    for number, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            _, image = next(iter(views_of(read_image(path), replace(SHAPE, resize=resize), path.name)))
            images.append(np.broadcast_to(image, (SIDE, SIDE, 3)))
            labels.append(number)
    return np.stack(images), np.array(labels), classes


def scaled(images: np.ndarray, side: int) -> np.ndarray:
    """By area, as no other loses less of what a smaller picture can hold."""
    return np.stack([np.asarray(Image.fromarray(x).resize((side, side), Image.Resampling.BOX)) for x in images])


def jpeg(images: np.ndarray, quality: int) -> tuple[np.ndarray, float]:
    """Through JPEG and back, and the mean of the files' bytes."""
    found, size = [], 0
    for image in images:
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, optimize=True)
        size += file.tell()
        found.append(np.asarray(Image.open(file).convert("RGB")))
    return np.stack(found), size / len(images)


def quality_of(images: np.ndarray, size: float) -> int:
    """Of JPEG, for files of about that size on average."""
    some = images[:: max(1, len(images) // 64)]
    return min(range(1, 96), key=lambda quality: abs(jpeg(some, quality)[1] - size))


def inputs(train_folder: Path, held_folder: Path, work: Path, resize: int) -> dict[str, tuple[Any, Any, float]]:
    """By name: what is trained on, what is kept out, and bytes a sample."""
    made: dict[str, tuple[Any, Any, float]] = {}
    sizes = {}
    for quality in QUALITIES:
        sets = []
        for folder, name in ((train_folder, "train"), (held_folder, "held")):
            place = work / f"{name}-{quality}"
            report = transcode(folder, place, codec=CODEC, resize=resize, crop=SIDE, quality=quality, progress=False)
            sets.append(LatentDataset(place).cache(work / f"{name}-{quality}.cache"))
            sizes[quality] = report.bytes_out / report.count
        made[f"latents, quality {quality}"] = sets[0], sets[1], sizes[quality]
    (pixels, labels, _), (others, held_labels, _) = photographs(train_folder, resize), photographs(held_folder, resize)

    def grids(first: np.ndarray, second: np.ndarray) -> tuple[Grids, Grids]:
        data = Grids(tokens(first), labels)
        return data, Grids(tokens(second), held_labels, data)

    small = SIDE // 4
    made[ANCHOR] = *grids(scaled(pixels, small), scaled(others, small)), float(3 * small**2)
    quality = quality_of(pixels, sizes[50])
    (coded, size), (coded_others, _) = jpeg(pixels, quality), jpeg(others, quality)
    made[f"JPEG {quality}, scaled to {small}x{small}"] = *grids(scaled(coded, small), scaled(coded_others, small)), size
    made[f"pixels, {SIDE}x{SIDE}"] = *grids(pixels, others), float(3 * SIDE**2)
    return made


MADE: dict[str, tuple[Any, Any, float]] = {}  # by input; what forked processes share
Job = tuple[str, str, int]  # head, input, seed


def trained(job: Job, epochs: float, device: str) -> tuple[Job, Evaluated]:
    """What a head came to."""
    if device != "cpu":
        torch.set_num_threads(1)  # others train beside it
    head, source, seed = job
    data, held, _ = MADE[source]
    recipe = replace(RECIPE, head=head, epochs=epochs, seed=seed)
    return job, train(data, held, recipe, int(data.labels.max()) + 1, device)[0]


def rows_of(found: dict[Job, Evaluated]) -> list[dict[str, Any]]:
    """A row of each head and input: mean and deviation over seeds, and what is gained over scaled pixels."""
    rows = []
    for head, source in dict.fromkeys(
        job[:2] for job in sorted(found, key=lambda job: (job[0], list(MADE).index(job[1])))
    ):
        seeds = [seed for of, name, seed in sorted(found) if (of, name) == (head, source)]
        accuracies = np.array([found[head, source, seed].accuracy for seed in seeds])
        row = {
            "head": head, "input": source, "bytes": MADE[source][2], "accuracies": accuracies.tolist(),
            "mean": accuracies.mean(), "deviation": accuracies.std(ddof=1) if len(seeds) > 1 else None,
        }  # fmt: skip
        pairs = [(found[head, source, s], found[head, ANCHOR, s]) for s in seeds if (head, ANCHOR, s) in found]
        if pairs and source != ANCHOR:
            row["gain"] = np.mean([one.against(other) for one, other in pairs], 0).tolist()
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--heads", nargs="+", default=["convnext-s", "vit-s"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=40)
    parser.add_argument("--resize", type=int, default=256, help="pixels of the shorter side, of which 224x224 are used")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    parser.add_argument("--output", type=Path, default=RESULTS / "learning.json")
    given = parser.parse_args()
    isthmus.load(CODEC)
    with tempfile.TemporaryDirectory() as work:
        MADE.update(inputs(given.train, given.validation, Path(work), given.resize))
        jobs = [(head, name, seed) for seed in range(given.seeds) for name in MADE for head in given.heads]
        found: dict[Job, Evaluated] = {}
        job = partial(trained, epochs=given.epochs, device=given.device)
        with get_context("fork").Pool(given.processes) as pool:  # nothing has touched the GPU yet
            for done, one in pool.imap_unordered(job, jobs):
                found[done] = one
                print(
                    f"{', '.join(map(str, done))}: {100 * one.accuracy:.1f} %, {len(found)} of {len(jobs)}", flush=True
                )
                told = {"train": given.train.name, "samples": len(one.labels), "epochs": given.epochs}
                write_json(given.output, {**facts(), **told, "recipe": asdict(RECIPE), "rows": rows_of(found)})
    for row in rows_of(found):
        print(f"{row['head']}, {row['input']}: {100 * row['mean']:.1f} %, gain {row.get('gain')}")


if __name__ == "__main__":
    main()
