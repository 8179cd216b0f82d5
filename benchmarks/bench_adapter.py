# SPDX-License-Identifier: Apache-2.0
"""A pretrained backbone on latents, by an adapter, against the same backbone on JPEG files of as many bytes.

    python benchmarks/bench_adapter.py TRAIN VALIDATION [--device cuda] [--workers 8] [--set steps=8000]
        [--out runs/adapter] [--output FILE.json]

TRAIN and VALIDATION: folders of class folders of photographs; 224x224 pixels of each kept-out one are judged (shorter
side 256, the middle). `isthmus train adapter` tunes EfficientNet-lite0 on the pixels of TRAIN, then teaches a copy to
read latents of all qualities at once. The competitor is another copy, taught by the same loop, the same teacher, views,
steps and losses, to read JPEG pictures of qualities that cover the same bytes. Intervals are by the paired bootstrap.
"""

import argparse
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from shared.measurement import RESULTS, facts, write_json
from torch import Tensor

import isthmus
from isthmus.datasets.latents.analysed import AnalysedSource
from isthmus.models.backbones import Backbone, load_backbone
from isthmus.optim.loop import LoopSettings
from isthmus.options import change
from isthmus.training.adapters import AdapterRecipe, train_adapter
from isthmus.training.adapters.judging import QUALITIES, KeptOut
from isthmus.training.adapters.photographs import RandomViews
from isthmus.training.adapters.session import TEACHER, TEACHER_FILE
from isthmus.training.adapters.trainer import Distillation
from isthmus.training.heads import load_head
from isthmus.training.heads.evaluation import Evaluated, labels_of
from isthmus.training.heads.saved import NAME
from isthmus.training.heads.world import World

JPEG = (3, 40)  # qualities that the competitor is trained on: 0.9 to 5 kB at 224x224


def through_jpeg(image: np.ndarray, quality: int) -> tuple[np.ndarray, int]:
    """uint8 [H, W, 3] through a file and back, and its bytes."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, optimize=True)
    return np.asarray(Image.open(file).convert("RGB")), file.tell()


class JpegViews(RandomViews):
    """The same views, and beside them what is left of each in a JPEG file of a random quality."""

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().collate(samples)
        chance = np.random.default_rng([self.recipe.seed, 3, samples[0]["number"]])
        pictures = [
            through_jpeg(np.ascontiguousarray(x.transpose(1, 2, 0)), int(chance.integers(JPEG[0], JPEG[1] + 1)))[0]
            for x in batch["pixels"].numpy()
        ]
        return {**batch, "seen": torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())}


def jpegs(pixels: Tensor, quality: int) -> tuple[Tensor, float]:
    """uint8 [n, 3, h, w] through JPEG, and the mean of bytes."""
    made = [through_jpeg(np.ascontiguousarray(x.permute(1, 2, 0).numpy()), quality) for x in pixels]
    pictures = np.stack([picture for picture, _ in made]).transpose(0, 3, 1, 2).copy()
    return torch.from_numpy(pictures), float(np.mean([size for _, size in made]))


def train_on_jpeg(
    teacher: Backbone, views: RandomViews, recipe: AdapterRecipe, out: Path, device: str, workers: int
) -> Any:
    """The competitor, or None if time ran out."""
    student = load_backbone(recipe.backbone, views.labels.max() + 1, pretrained=False).to(device)
    student.load_state_dict(teacher.state_dict())
    steps = recipe.features + recipe.steps
    lesson = Distillation(
        student, teacher, JpegViews(views.source, recipe), recipe, {"network": recipe.tail_rate}, steps=steps,
        seen=lambda batch: batch["seen"].to(device, non_blocking=True).float(), workers=workers,
        world=World(device=torch.device(device)),
    )  # fmt: skip
    loop = LoopSettings(steps, save_minutes=0.5, validate_every=1 << 30)
    if not lesson.run(out, {**asdict(recipe), "data": views.source.fingerprint}, loop, None):
        return None
    student.load_state_dict(lesson.averaged())
    return student.eval()


def row(name: str, quality: int, size: float, found: Evaluated) -> dict[str, Any]:
    low, high = found.interval()
    interval = f"{100 * low:.1f} to {100 * high:.1f}"
    print(f"{name}, quality {quality}, {size:.0f} bytes: {100 * found.accuracy:.2f} % ({interval})")
    return {"input": name, "quality": quality, "bytes": size, "accuracy": found.accuracy, "low": low, "high": high}


def main() -> None:
    """Train, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/adapter"))
    parser.add_argument("--output", type=Path, default=RESULTS / "adapter.json")
    given = parser.parse_args()
    recipe = change(AdapterRecipe(), given.set, "bench_adapter")
    device = torch.device(given.device)
    if not (given.out / NAME).exists():
        train_adapter(
            given.train, recipe, given.out, validation=given.validation, device=given.device, workers=given.workers
        )
    shape = {"resize": recipe.resize, "crop": recipe.size}
    source, held = (AnalysedSource(folder, recipe.codec, dict(shape)) for folder in (given.train, given.validation))
    kept = KeptOut(held, labels_of(str(given.validation), held.labels(), held.classes, source.classes), device)
    teacher = load_backbone(recipe.backbone, len(source.classes or ()), pretrained=False)
    teacher.load_state_dict(load_file(given.out / TEACHER / TEACHER_FILE))
    teacher.to(device).eval()
    tuned = train_on_jpeg(teacher, RandomViews(source, recipe), recipe, given.out / "jpeg", given.device, given.workers)
    head, _ = load_head(given.out)
    head.to(device)
    rows = [row("pixels", 100, float(kept.pixels[0].numel()), kept.on_pixels(teacher))]
    codec = isthmus.load(recipe.codec)
    sizes = {q: float(np.mean([len(codec.encode(x, quality=q)) for x in kept.pixels])) for q in QUALITIES}
    coded = {q: jpegs(kept.pixels, q) for q in range(1, 60)}
    for quality, size in sizes.items():
        on_latents = kept.on_latents(head, quality)
        rows.append(row("latents", quality, size, on_latents))
        near = min(coded, key=lambda q: abs(coded[q][1] - size))
        pictures, bytes_of = coded[near]
        rows.append(row("JPEG", near, bytes_of, kept.on_pixels(teacher, pictures)))
        on_jpeg = kept.on_pixels(tuned, pictures)
        gain = on_latents.against(on_jpeg)
        rows.append({**row("JPEG, tuned on it", near, bytes_of, on_jpeg), "latents_less_this": gain})
        preview = kept.on_pixels(teacher, kept.previews(quality))
        rows.append(row("latents, linear preview", quality, size, preview))
        print(f"  latents less tuned JPEG: {100 * gain[0]:+.2f} ({100 * gain[1]:+.2f} to {100 * gain[2]:+.2f})")
    write_json(given.output, {**facts(), "recipe": asdict(recipe), "samples": len(kept.labels), "rows": rows})


if __name__ == "__main__":
    main()
