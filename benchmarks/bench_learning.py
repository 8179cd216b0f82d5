# SPDX-License-Identifier: Apache-2.0
"""What a classifier learns from latents, and from pixels of as many numbers, by the same head and the same loop.

    python benchmarks/bench_learning.py TRAIN VALIDATION [--heads convnext-s vit-s] [--seeds 3] [--epochs 25]
        [--device cuda] [--output FILE.json]

TRAIN and VALIDATION: folders of class folders of photographs; 224x224 pixels of each are used (shorter side 256, the
middle). Each input is a grid of 28x28 tokens: latents of walloc-image-f8c12 at three qualities (12 numbers a token),
pixels scaled to 56x56 (12 numbers), JPEG files of as many bytes as the latents at quality 50, scaled likewise, and all
224x224 pixels (192 numbers: the ceiling). No flips, crops of 24x24 tokens, MixUp and CutMix for all. Accuracies are of
VALIDATION, mean and deviation over seeds, with paired bootstrap intervals against scaled pixels.
"""

import argparse
import tempfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
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
SHAPE = Settings(CODEC, "image", "", resize=256, crop=SIDE)
RECIPE = HeadRecipe(batch=64, flip=0.0, crop=24)


def tokens(images: np.ndarray) -> np.ndarray:
    """uint8 [n, side, side, 3] to int16 [n, 3 (side / 28)^2, 28, 28]: the pixels of each of 28x28 cells as channels."""
    n, side = images.shape[:2]
    k = side // TOKENS
    cells = images.reshape(n, TOKENS, k, TOKENS, k, 3).transpose(0, 2, 4, 5, 1, 3)
    return np.ascontiguousarray(cells.reshape(n, -1, TOKENS, TOKENS)).astype(np.int16)


def photographs(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """uint8 [n, 224, 224, 3], labels and the names of classes."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    images, labels = [], []
    for number, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            _, image = next(iter(views_of(read_image(path), SHAPE, path.name)))
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


def inputs(train_folder: Path, held_folder: Path, work: Path) -> dict[str, tuple[Any, Any, float]]:
    """By name: what is trained on, what is kept out, and bytes a sample."""
    made: dict[str, tuple[Any, Any, float]] = {}
    sizes = {}
    for quality in QUALITIES:
        sets = []
        for folder, name in ((train_folder, "train"), (held_folder, "held")):
            place = work / f"{name}-{quality}"
            report = transcode(folder, place, codec=CODEC, resize=256, crop=SIDE, quality=quality, progress=False)
            sets.append(LatentDataset(place).cache(work / f"{name}-{quality}.cache"))
            sizes[quality] = report.bytes_out / report.count
        made[f"latents, quality {quality}"] = sets[0], sets[1], sizes[quality]
    (pixels, labels, _), (others, held_labels, _) = photographs(train_folder), photographs(held_folder)

    def grids(first: np.ndarray, second: np.ndarray) -> tuple[Grids, Grids]:
        data = Grids(tokens(first), labels)
        return data, Grids(tokens(second), held_labels, data)

    small = SIDE // 4
    made[f"pixels, {small}x{small}"] = *grids(scaled(pixels, small), scaled(others, small)), float(3 * small**2)
    quality = quality_of(pixels, sizes[50])
    (coded, size), (coded_others, _) = jpeg(pixels, quality), jpeg(others, quality)
    made[f"JPEG {quality}, scaled to {small}x{small}"] = *grids(scaled(coded, small), scaled(coded_others, small)), size
    made[f"pixels, {SIDE}x{SIDE}"] = *grids(pixels, others), float(3 * SIDE**2)
    return made


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--heads", nargs="+", default=["convnext-s", "vit-s"])
    parser.add_argument("--only", default="", help="inputs whose names have this in them; else all, one after another")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=25)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=RESULTS / "learning.json")
    given = parser.parse_args()
    isthmus.load(CODEC)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        made = {
            name: told for name, told in inputs(given.train, given.validation, Path(work)).items() if given.only in name
        }
        classes = len([path for path in given.train.iterdir() if path.is_dir()])
        anchor = next((name for name in made if name.startswith("pixels")), "")
        for head in given.heads:
            found: dict[str, list[Evaluated]] = {}
            for name, (data, held, size) in made.items():
                speeds = []
                for seed in range(given.seeds):
                    recipe = replace(RECIPE, head=head, epochs=given.epochs, seed=seed)
                    one, speed = train(data, held, recipe, classes, given.device)
                    found.setdefault(name, []).append(one)
                    speeds.append(speed)
                accuracies = np.array([one.accuracy for one in found[name]])
                rows.append({
                    "head": head, "input": name, "bytes": size, "accuracies": accuracies.tolist(),
                    "mean": accuracies.mean(), "deviation": accuracies.std(ddof=1) if given.seeds > 1 else None,
                    "samples_per_second": float(np.median(speeds)),
                    "right": [one.right.tolist() for one in found[name]],
                })  # fmt: skip
                print(f"{head}, {name}: {100 * accuracies.mean():.1f} % ({accuracies})", flush=True)
            for row in rows:
                if row["head"] == head and anchor in found:
                    pairs = zip(found[row["input"]], found[anchor], strict=True)
                    row["gain"] = np.mean([one.against(other) for one, other in pairs], 0).tolist()
            # after every head, as an hour of training may be cut short
            write_json(given.output, {**facts(), "train": given.train.name, "epochs": given.epochs, "rows": rows})


if __name__ == "__main__":
    main()
