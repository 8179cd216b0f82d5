# SPDX-License-Identifier: Apache-2.0
"""The two kinds of targets, classes and values: their loss, their pictures, and what a head's file says of them."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.errors import CorruptStreamError
from isthmus.files import atomic_file
from isthmus.media.image import write_image
from isthmus.training.heads.dense.judged import ClassMeter, Meter, ValueMeter, levels
from isthmus.training.heads.dense.pictures import Are, Pictures
from isthmus.training.heads.dense.targets import IGNORED, NOTHING, UNKNOWN, Paired
from isthmus.training.heads.saved import HeadFacts


class Kind(Protocol):
    """columns: what judging gives, for the curve. outputs, classes: of the head. asked: for its file."""

    are: Are
    columns: tuple[str, ...]
    outputs: int
    classes: list[str] | None

    @property
    def asked(self) -> dict[str, Any]:
        """As JSON values, from which `kind_of` makes it again."""

    def paired(self, latents: LatentDataset, pictures: Pictures, cell: int) -> Paired:
        """Samples with targets as `loss` takes them."""

    def loss(self, out: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Mean over the pixels that are known, of float32 [n, outputs, H, W] and int16 [n, 1 or outputs, H, W]."""

    def meter(self) -> Meter:
        """What judges a head."""

    def picture(self, out: Tensor) -> NDArray[np.uint8]:
        """What a head gave, [outputs, H, W], as a picture: uint8 [H, W, 1 or 3]."""

    def write(self, path: Path, picture: NDArray[np.uint8]) -> None:
        """A PNG, whole or not at all. Raises UnwritableFileError."""


class Classes:
    """numbers: in masks, of each class of the head. palette: red, green, blue of number 0, 1, ...; None: some."""

    are: Are = "classes"
    columns: tuple[str, ...] = ("iou", "accuracy", "floor_iou", "floor_accuracy")

    def __init__(self, numbers: list[int], palette: list[int] | None) -> None:
        self.numbers, self.palette, self.outputs = numbers, palette, len(numbers)
        self.classes: list[str] | None = [str(n) for n in numbers]

    @property
    def asked(self) -> dict[str, Any]:
        return {"targets": self.are, "numbers": self.numbers, "palette": self.palette}

    def paired(self, latents: LatentDataset, pictures: Pictures, cell: int) -> Paired:
        table = [UNKNOWN] * 256
        for place, number in enumerate(self.numbers):
            table[number] = place
        table[IGNORED] = NOTHING
        return Paired(latents, pictures, cell, table=table)

    def loss(self, out: Tensor, target: Tensor, smoothing: float) -> Tensor:
        truth = target[:, 0].long()
        total = F.cross_entropy(out, truth, ignore_index=NOTHING, reduction="sum", label_smoothing=smoothing)
        return total / (truth != NOTHING).sum().clamp_min(1)

    def meter(self) -> Meter:
        return ClassMeter(self.outputs)

    def picture(self, out: Tensor) -> NDArray[np.uint8]:
        return np.asarray(self.numbers, np.uint8)[out.argmax(0).cpu().numpy()][..., None]

    def write(self, path: Path, picture: NDArray[np.uint8]) -> None:
        from PIL import Image

        image = Image.fromarray(picture[..., 0])
        own = self.palette or []
        image.putpalette(own + _some_palette()[len(own) :])  # with a shorter one Pillow would cut bits off the numbers
        with atomic_file(path) as file:
            image.save(file, format="PNG")


class Values:
    """mean, std: of each colour of targets, by which values are normalised."""

    are: Are = "values"
    columns: tuple[str, ...] = ("psnr", "mae", "floor_psnr", "floor_mae")
    classes: list[str] | None = None

    def __init__(self, mean: list[float], std: list[float]) -> None:
        self.mean, self.std, self.outputs = mean, std, len(mean)

    @property
    def asked(self) -> dict[str, Any]:
        return {"targets": self.are, "mean": self.mean, "std": self.std}

    def paired(self, latents: LatentDataset, pictures: Pictures, cell: int) -> Paired:
        return Paired(latents, pictures, cell, channels=self.outputs)

    def loss(self, out: Tensor, target: Tensor, smoothing: float) -> Tensor:
        shift, scale = (torch.tensor(v, device=out.device).reshape(-1, 1, 1) for v in (self.mean, self.std))
        there = target != NOTHING
        errors = (out - (target.float() - shift) / scale).square() * there
        return errors.sum() / there.sum().clamp_min(1)

    def meter(self) -> Meter:
        return ValueMeter(self.mean, self.std)

    def picture(self, out: Tensor) -> NDArray[np.uint8]:
        whole = levels(out, self.mean, self.std).to(torch.uint8)
        return np.ascontiguousarray(whole.permute(1, 2, 0).cpu().numpy())

    def write(self, path: Path, picture: NDArray[np.uint8]) -> None:
        write_image(path, picture)


def kind_of(facts: HeadFacts) -> Kind:
    """What a dense head was trained for. Raises CorruptStreamError for facts that do not fit together."""
    told = facts.asked
    try:
        if told["targets"] == "classes":
            kind: Kind = Classes([int(n) for n in told["numbers"]], told["palette"])
            good = all(0 <= n < IGNORED for n in told["numbers"]) and kind.classes == facts.classes
        else:
            kind = Values([float(v) for v in told["mean"]], [float(v) for v in told["std"]])
            good = told["targets"] == "values" and len(kind.std) == kind.outputs in (1, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptStreamError(f"head: what it says of its targets cannot be read ({error!r})") from error
    if not good or kind.outputs != facts.outputs:
        raise CorruptStreamError(f"head: {facts.outputs} outputs do not fit its targets")
    return kind


def _some_palette() -> list[int]:
    """Colours of 256 numbers, unlike those of their neighbours: bits of a number to the high bits of colours."""
    bits = (np.arange(256)[:, None, None] >> (3 * np.arange(3)[:, None] + np.arange(3))) & 1  # [256, level, colour]
    colours = (bits << (7 - np.arange(3)[:, None])).sum(1)
    return [int(v) for v in colours.flatten()]
