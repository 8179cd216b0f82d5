# SPDX-License-Identifier: Apache-2.0
"""A training of a head that says something of every pixel: pictures as targets of a data set of latents."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.models.heads import HEADS, LatentInput
from isthmus.training.heads.dense.judged import judge
from isthmus.training.heads.dense.pictures import Are, Pictures
from isthmus.training.heads.dense.survey import survey
from isthmus.training.heads.dense.targets import target_of
from isthmus.training.heads.dense.views import PairedViews
from isthmus.training.heads.recipe import HeadRecipe
from isthmus.training.heads.run import train_head
from isthmus.training.heads.running import Running
from isthmus.training.heads.saved import check_alike
from isthmus.training.heads.task import Judged, Task

DENSE = HeadRecipe(head="dense-s", batch=32, smoothing=0.0, mixing="none")


class Dense(Task):
    """A class or a value of each pixel, the `Task` of dense heads. Raises what `train_dense` raises."""

    name = "dense"

    def __init__(
        self, latents: LatentDataset, targets: Path, recipe: HeadRecipe, *, are: Are | None = None,
        held: tuple[LatentDataset, Path] | None = None, workers: int = 0,
    ) -> None:  # fmt: skip
        pictures, about = Pictures(latents, targets, are), LatentInput.of(latents)
        widths = None if pictures.sizes is None else pictures.sizes[:, 1]
        self.views, self.smoothing, self.workers = (
            PairedViews(recipe, latents, about.cell, widths),
            recipe.smoothing,
            workers,
        )
        self.held = None
        self.validation = held[0] if held is not None else None
        if held is not None:
            check_alike(latents, held[0])
            others = Pictures(*held, pictures.are)
            if are is None:
                others.check_like(pictures)
        if pictures.are == "values" and recipe.smoothing:
            raise ValueError(f"smoothing {recipe.smoothing}: it is of classes, and the targets are values")
        found = survey(latents, pictures, about, workers)
        self.kind, self.indices, self.floor = found.kind, found.indices, (found.weight, found.bias)
        self.samples = self.kind.paired(latents, pictures, about.cell)
        if held is not None:
            self.held = self.kind.paired(held[0], others, about.cell)
        self.outputs, self.classes, self.columns = self.kind.outputs, self.kind.classes, self.kind.columns
        self.config = {**self.kind.asked, "digest": pictures.digest, "mode": pictures.told}
        first = f"targets are {pictures.are}: {found.note}"
        if are is None:
            other = "values" if pictures.are == "classes" else "classes"
            first += f" (as {pictures.files[0]} is {pictures.told}; else --targets-are {other})"
        self.notes = [line for line in (first, pictures.note, self.views.note) if line]

    def begin(self, head: nn.Module) -> None:
        """The head is its floor then."""
        for own, found in zip((head.floor_weight, head.floor_bias), self.floor, strict=True):
            own.copy_(found)  # type: ignore[operator]

    def shown(self, y: Tensor, part: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self.views(y, target_of(part, y.device))

    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        return self.kind.loss(out, targets, self.smoothing)

    def judge(self, head: nn.Module) -> Judged | None:
        if self.held is None:
            return None
        found: Judged = judge(head, self.held, self.kind.meter(), workers=self.workers)
        return found


def train_dense(
    latents: LatentDataset,
    targets: Path,
    recipe: HeadRecipe,
    out: Path,
    *,
    are: Are | None = None,
    validation: LatentDataset | None = None,
    validation_targets: Path | None = None,
    **running: Any,
) -> Path | None:
    """Trains a dense head on latents of images; its file in `out`, or None if time ran out.

    targets: folder with a picture of each sample, found by its key: the same relative path, any suffix. are: "classes"
    of masks (palettes, 8-bit grey; 255 is left out) or "values" (0 to 255, grey or colours); None: what the first says
    by its mode. validation, validation_targets: never trained on. running: fields of `Running`. The rest, and what else
    is raised, as `run.train_head`; ValueError for a head that is not dense, missing targets, targets of another size
    than their images, classes that are none or one; UnreadableFileError for pictures that are no targets.
    """
    recipe.check()
    if not recipe.head.startswith("dense") or recipe.head not in HEADS:
        dense = " or ".join(name for name in HEADS if name.startswith("dense"))
        raise ValueError(f"head {recipe.head!r} gives no value for every pixel; expected {dense}")
    if (validation is None) != (validation_targets is None):
        raise ValueError("validation needs both: latents (--validation) and their targets (--validation-targets)")
    held = None if validation is None or validation_targets is None else (validation, validation_targets)
    how = Running(**running)
    task = Dense(latents, targets, recipe, are=are, held=held, workers=how.workers)
    return train_head(latents, task, recipe, out, how)
