# SPDX-License-Identifier: Apache-2.0
"""How right a dense head is on latents with targets, beside its floor on the same pixels."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from isthmus.training.heads.dense.targets import NOTHING, Paired, target_of
from isthmus.training.heads.task import Judged

AT_ONCE = 4  # samples: of hundreds of classes at 512x512 pixels these are gigabytes


@dataclass(frozen=True)
class JudgedClasses:
    """confusion, floor_confusion: pixels by true class and by class that was said, int64 [classes, classes]."""

    samples: int
    confusion: NDArray[np.int64]
    floor_confusion: NDArray[np.int64]

    @property
    def iou(self) -> float:
        """Intersection over union, mean of the classes that there are or that were said."""
        return _iou(self.confusion)

    @property
    def accuracy(self) -> float:
        """Share of pixels whose class was said."""
        return _accuracy(self.confusion)

    @property
    def floor_iou(self) -> float:
        return _iou(self.floor_confusion)

    @property
    def floor_accuracy(self) -> float:
        return _accuracy(self.floor_confusion)

    def describe(self) -> dict[str, Any]:
        names = ("iou", "accuracy", "floor_iou", "floor_accuracy")
        return {"samples": self.samples, **{name: getattr(self, name) for name in names}}

    def tell(self) -> str:
        return (
            f"mean IoU {100 * self.iou:.2f} %, {100 * self.accuracy:.2f} % of pixels right, of {self.samples} samples "
            f"(the most frequent class alone: {100 * self.floor_iou:.2f} %, {100 * self.floor_accuracy:.2f} %)"
        )


@dataclass(frozen=True)
class JudgedValues:
    """squares, sizes: means over all pixels and colours of squared and absolute errors, where white is 255."""

    samples: int
    squares: float
    sizes: float
    floor_squares: float
    floor_sizes: float

    @property
    def psnr(self) -> float:
        """dB, of the mean over all pixels."""
        return _psnr(self.squares)

    @property
    def mae(self) -> float:
        return self.sizes

    @property
    def floor_psnr(self) -> float:
        return _psnr(self.floor_squares)

    @property
    def floor_mae(self) -> float:
        return self.floor_sizes

    def describe(self) -> dict[str, Any]:
        names = ("psnr", "mae", "floor_psnr", "floor_mae")
        return {"samples": self.samples, **{name: getattr(self, name) for name in names}}

    def tell(self) -> str:
        psnr = f"PSNR {self.psnr:.2f} dB" if self.squares else "no error (PSNR without end)"
        floor = f"{self.floor_psnr:.2f} dB" if self.floor_squares else "no error"
        return (
            f"{psnr}, mean absolute error {self.mae:.2f} of 255, of {self.samples} samples "
            f"(the best linear map of cells: {floor}, {self.floor_mae:.2f})"
        )


class Meter(Protocol):
    """Sums over batches of what a head said."""

    def add(self, out: Tensor, floor: Tensor, target: Tensor) -> None:
        """float32 [n, outputs, H, W] of the head and of its floor, int16 [n, 1 or outputs, H, W] of what is right."""

    def judged(self, samples: int) -> Judged:
        """What they come to. Raises ValueError where all pixels were left out."""


class ClassMeter:
    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.sums = [torch.zeros(classes * classes, dtype=torch.int64) for _ in range(2)]

    def add(self, out: Tensor, floor: Tensor, target: Tensor) -> None:
        truth, there = target[:, 0].long(), target[:, 0] != NOTHING
        for said, total in zip((out, floor), self.sums, strict=True):
            places = (truth * self.classes + said.argmax(1))[there]
            total += torch.bincount(places, minlength=self.classes**2).cpu()

    def judged(self, samples: int) -> JudgedClasses:
        one, floor = (total.reshape(self.classes, self.classes).numpy() for total in self.sums)
        if not one.sum():
            raise ValueError("all pixels of these targets are left out (255): nothing to judge")
        return JudgedClasses(samples, one, floor)


class ValueMeter:
    """mean, std: of each colour, as the head's values are normalised. What is judged is what would be written: whole
    numbers, 0 to 255."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        self.mean, self.std = mean, std
        self.sums, self.count = np.zeros(4), 0

    def add(self, out: Tensor, floor: Tensor, target: Tensor) -> None:
        there, found = target != NOTHING, []
        for said in (out, floor):
            error = (levels(said, self.mean, self.std) - target.float())[there].double()
            found += [float(error.square().sum()), float(error.abs().sum())]
        self.sums += found
        self.count += int(there.sum())

    def judged(self, samples: int) -> JudgedValues:
        return JudgedValues(samples, *(self.sums / self.count).tolist())


def levels(out: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Normalised values [n, colours, H, W] to whole numbers from 0 to 255, float32."""
    shift, scale = (torch.tensor(v, device=out.device).reshape(-1, 1, 1) for v in (mean, std))
    return (out * scale + shift).round().clamp(0, 255)


@torch.no_grad()
def judge(head: nn.Module, data: Paired, meter: Meter, *, batch: int = AT_ONCE, workers: int = 0) -> Any:
    """A `DenseHead` on all samples of `data`: a `JudgedClasses` or `JudgedValues`, as the meter says."""
    device = next(head.parameters()).device
    head.eval()
    for part in DataLoader(data, batch_size=batch, num_workers=workers, collate_fn=data.collate):
        mask = None if bool(part["mask"].all()) else part["mask"].to(device)
        y: Any = data.latents.dequantize(part["y"], device)
        out, floor = head(y, mask).float(), head.floor(y, mask).float()  # type: ignore[operator]
        meter.add(out, floor, target_of(part, device))
    return meter.judged(len(data))


def _iou(confusion: NDArray[np.int64]) -> float:
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return float((hits[union > 0] / union[union > 0]).mean())


def _accuracy(confusion: NDArray[np.int64]) -> float:
    return float(np.diag(confusion).sum() / confusion.sum())


def _psnr(squares: float) -> float:
    return float(10 * np.log10(255**2 / squares)) if squares else float("inf")
