# SPDX-License-Identifier: Apache-2.0
"""A training of a classifier: labels of a data set of latents."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.models.heads import LatentInput, check_input, check_name
from isthmus.training.heads.evaluation import Evaluated, evaluate, labels_as, outputs_of
from isthmus.training.heads.recipe import HeadRecipe
from isthmus.training.heads.run import train_head
from isthmus.training.heads.running import Running
from isthmus.training.heads.saved import check_alike
from isthmus.training.heads.task import Task
from isthmus.training.heads.views import Views, is_uniform


class Classification(Task):
    """One class of each sample, the `Task` of classifiers. Raises ValueError for a recipe that data do not allow."""

    name = "classify"
    columns: tuple[str, ...] = ("accuracy", "loss")

    def __init__(
        self, latents: LatentDataset, recipe: HeadRecipe, validation: LatentDataset | None = None, workers: int = 0
    ) -> None:
        labels, self.classes = check_labels(latents)
        self.samples: Any = latents
        self.indices = np.flatnonzero(labels >= 0)
        self.outputs = outputs_of(latents.path, labels, self.classes)
        for data in (latents, validation):
            if data is not None:
                check_input(recipe.head, LatentInput.of(data), _grid(data), data.path)
        self.validation, self.workers, self.smoothing = validation, workers, recipe.smoothing
        if validation is not None:
            self.held = labels_as(validation, self.classes, self.outputs)
            check_alike(latents, validation)
        self.config: dict[str, Any] = {}
        self.views = Views(recipe, latents, self.outputs)
        self.notes: list[str] = []
        if not is_uniform(latents) and (recipe.flip or recipe.mixing != "none"):
            self.notes.append("samples of several sizes: no flips, no mixtures")

    def shown(self, y: Tensor, part: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self.views(y, part["label"].to(y.device, non_blocking=True))

    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(out, targets, label_smoothing=self.smoothing)

    def judge(self, head: nn.Module) -> Evaluated | None:
        if self.validation is None:
            return None
        return evaluate(head, self.validation, self.held, workers=self.workers)


def train_classifier(
    latents: LatentDataset,
    recipe: HeadRecipe,
    out: Path,
    *,
    validation: LatentDataset | None = None,
    **running: Any,
) -> Path | None:
    """Trains a head on the labels of a data set of latents; its file in `out`, or None if time ran out.

    validation: of samples that are never trained on, made by the same codec. running: fields of `Running`. The rest,
    and what is raised, as `run.train_head`; ValueError also for data sets that do not fit each other.
    """
    recipe.check()
    if recipe.head.startswith(("dense", "clip")):
        raise ValueError(
            f"head {recipe.head!r} does not classify; expected convnext-s, vit-s, adapter:efficientnet, ..."
        )
    check_name(recipe.head)
    how = Running(**running)
    return train_head(latents, Classification(latents, recipe, validation, how.workers), recipe, out, how)


def _grid(data: LatentDataset) -> tuple[int, ...] | None:
    """Cells along each axis of all samples; None where they differ, or nobody knows."""
    shape, crop = data.shapes["y"], data.origin["settings"].get("crop")
    if shape is None and crop:
        return (-(-crop // LatentInput.of(data).cell),) * 2
    return shape if shape is None else shape[1:]


def check_labels(data: LatentDataset) -> tuple[NDArray[np.int64], list[str] | None]:
    """Labels and classes to train on. Raises ValueError where there are none, or one class only."""
    labels = data.labels
    there = np.unique(labels[labels >= 0])
    if not len(there):
        raise ValueError(
            f"{data.path}: no labels: class folders without files beside them, a column `label` or cls members "
            "make some; a column of another name with tags is for train tag --tags"
        )
    if len(there) < 2:
        raise ValueError(f"{data.path}: all labelled samples are of one class; expected two or more")
    left = int((labels < 0).sum())
    if left:
        warnings.warn(f"{data.path}: {left} of {len(labels)} samples have no label and are left out", stacklevel=4)
    return labels, data.classes
