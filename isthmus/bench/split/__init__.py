# SPDX-License-Identifier: Apache-2.0
"""A run beside other ways to share its network between a device and a server: `isthmus bench split`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.bench.split.measure import Measured, measure
from isthmus.bench.split.ways import Alone, Pictures, Quantized, Split, Way
from isthmus.datasets.latents.analysed import AnalysedSource
from isthmus.models.backbones import Backbone, load_backbone
from isthmus.models.heads import ADAPTER, named_place
from isthmus.split.beginning import noise
from isthmus.split.quantized import QuantizedFeatures, narrowest
from isthmus.split.tail import Tail
from isthmus.training.adapters.judging import KeptOut
from isthmus.training.adapters.session import TEACHER, load_tuned
from isthmus.training.heads.evaluation import labels_of

__all__ = ["Comparison", "Measured", "compare_ways"]

QUALITIES = (1, 20, 50, 100)
RATES = {"JPEG": (5, 10, 20, 40, 75), "WEBP": (1, 10, 30, 60)}
QUANTIZED = ((8, 1.0), (4, 1.0), (3, 1.0), (4, 0.1))  # bits, and the share that is kept
USUAL, MADE = 224, 16  # pixels of pictures, and how many are made up where there are none


@dataclass(frozen=True)
class Comparison:
    """found: all ways, the split at its qualities first. whole: raw pixels into the whole network. shown: those whose
    latencies are compared, the split first. count: of the pictures."""

    found: list[Measured]
    whole: Measured
    shown: list[Measured]
    count: int


def compare_ways(
    run: Path, photographs: str | None, *, codec: str | None = None, quality: int = 50, timed: int = 32,
    most: int | None = None,
) -> Comparison:  # fmt: skip
    """A run beside JPEG, WebP, raw pixels, features without training, and the device alone.

    photographs: with the labels of the run's classes, kept out of its training; None times made-up pictures. quality:
    of the split whose latency is told. timed: pictures. most: of the pictures, drawn evenly. The whole network is the
    teacher that the run keeps; accuracies are told where there is one. Raises ValueError for a run without a backbone.
    """
    tail = Tail.open(run, codec)
    backbone, tuned = _whole(run, tail)
    pictures, labels = _pictures(tail, photographs, most)
    if not tuned:
        labels = None
    features = narrowest(backbone, pictures.shape[-1])
    ways: list[Way] = [Split(tail, each) for each in sorted({*QUALITIES, quality})]
    ways += [Pictures(backbone, name, each) for name, rates in RATES.items() for each in rates]
    ways += [Quantized(QuantizedFeatures(backbone, features, bits, keep)) for bits, keep in QUANTIZED]
    ways += [Pictures(backbone, "raw pixels"), Alone(backbone)]
    found = measure(ways, pictures, labels, timed)
    whole = next(one for one in found if one.way.name == "raw pixels")
    own = next(one for one in found if isinstance(one.way, Split) and one.way.quality == quality)
    alike = [_as_right(own, [one for one in found if one.way.name == name]) for name in (*RATES, "quantized features")]
    return Comparison(found, whole, [own, *alike, whole, found[-1]], len(pictures))


def _as_right(own: Measured, others: list[Measured]) -> Measured:
    """Of the settings of another way, the smallest that is as right; without labels the one nearest in bytes."""
    if own.judged is None:
        return min(others, key=lambda one: abs(float(one.sizes.mean() - own.sizes.mean())))
    right = [one for one in others if one.judged and one.judged.accuracy >= own.judged.accuracy]
    best = max(others, key=lambda one: one.judged.accuracy if one.judged else 0.0)
    return min(right, key=lambda one: float(one.sizes.mean())) if right else best


def _whole(run: Path, tail: Tail) -> tuple[Backbone, bool]:
    """The network that the run's head is half of, and whether it knows the classes."""
    name = tail.facts.head
    if not name.startswith(ADAPTER):
        raise ValueError(f"{run}: a {name} has no whole network to compare with; expected a run of `train split`")
    backbone = load_backbone(named_place(name)[0], tail.facts.outputs, pretrained=False)
    folder = run if run.is_dir() else run.parent
    if not (folder / TEACHER).is_dir():
        return backbone, False
    return load_tuned(backbone, folder), True


def _pictures(tail: Tail, photographs: str | None, most: int | None) -> tuple[Tensor, NDArray[np.int64] | None]:
    settings = tail.facts.settings
    size = settings.get("crop") or USUAL
    if photographs is None:
        return noise(size, MADE), None
    source = AnalysedSource(photographs, "walloc-image-f8c12", {"resize": settings.get("resize"), "crop": size})
    labels = labels_of(photographs, source.labels(), source.classes, tail.facts.classes, outputs=tail.facts.outputs)
    kept = KeptOut(source, labels, torch.device("cpu"))
    if most is None or most >= len(kept.labels):
        return kept.pixels, kept.labels
    places = torch.linspace(0, len(kept.labels) - 1, most).long()
    return kept.pixels[places], kept.labels[places.numpy()]
