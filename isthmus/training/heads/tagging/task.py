# SPDX-License-Identifier: Apache-2.0
"""A training of a tagger of sound: one class of each sample, or the tags that a column tells."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.models.heads import HEADS
from isthmus.training.heads.classify import Classification
from isthmus.training.heads.evaluation import Evaluated, evaluate
from isthmus.training.heads.recipe import HeadRecipe
from isthmus.training.heads.run import train_head
from isthmus.training.heads.running import Running
from isthmus.training.heads.saved import check_alike
from isthmus.training.heads.tagging.columns import classes_of, read_tags, targets_of
from isthmus.training.heads.tagging.judged import AT_ONCE, JudgedTags, judge_tags
from isthmus.training.heads.tagging.stretches import Stretches
from isthmus.training.heads.task import Task
from isthmus.training.heads.views import Views, is_uniform

# Sets of labelled sounds are small, so steps are too, and averages short. crop: frames of 256 samples, 4 s at 44.1 kHz.
SOUND = HeadRecipe(head="sound-s", epochs=60.0, batch=16, warmup=20, average=0.98, flip=0.0, crop=690)
TAGS = replace(SOUND, smoothing=0.0)  # of many tags a sound has few: smoothed, each would be told to be there a little


class OneClass(Classification):
    """The labels of a data set of sound, of which random stretches are heard."""

    name = "tag"

    def __init__(
        self, latents: LatentDataset, recipe: HeadRecipe, validation: LatentDataset | None = None, workers: int = 0
    ) -> None:
        super().__init__(latents, replace(recipe, crop=0), validation, workers)
        self.samples = Stretches(latents, recipe.crop, recipe.seed)
        self.views, self.notes = _views(recipe, self.samples, self.outputs)

    def judge(self, head: nn.Module) -> Evaluated | None:
        if self.validation is None:
            return None
        return evaluate(head, self.validation, self.held, batch=AT_ONCE, workers=self.workers)


class SeveralTags(Task):
    """Each tag of a column for itself: binary cross entropy, judged by mean average precision."""

    name = "tag"
    columns: tuple[str, ...] = ("map", "loss")

    def __init__(
        self, latents: LatentDataset, column: str, recipe: HeadRecipe, validation: LatentDataset | None = None,
        workers: int = 0,
    ) -> None:  # fmt: skip
        tags = read_tags(latents, column)
        self.classes: list[str] | None = classes_of(tags, latents.path, column)
        self.outputs = len(self.classes)
        targets = targets_of(tags, self.classes, latents.path)
        self.indices = np.flatnonzero(targets.any(1))
        left = len(tags) - len(self.indices)
        if left:
            warnings.warn(f"{latents.path}: {left} of {len(tags)} samples have no tags and are left out", stacklevel=3)
        self.validation, self.workers, self.smoothing = validation, workers, recipe.smoothing
        if validation is not None:
            check_alike(latents, validation)
            self.held = targets_of(read_tags(validation, column), self.classes, validation.path)
        self.config: dict[str, Any] = {"tags": column}
        self.samples = Stretches(latents, recipe.crop, recipe.seed, torch.from_numpy(targets))
        self.views, self.notes = _views(recipe, self.samples, self.outputs)

    def shown(self, y: Tensor, part: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self.views(y, part["label"].to(y.device, non_blocking=True))

    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out, targets * (1 - self.smoothing) + self.smoothing / 2)

    def judge(self, head: nn.Module) -> JudgedTags | None:
        if self.validation is None:
            return None
        return judge_tags(head, self.validation, self.held, workers=self.workers)


def train_tagger(
    latents: LatentDataset,
    recipe: HeadRecipe,
    out: Path,
    *,
    tags: str | None = None,
    validation: LatentDataset | None = None,
    **running: Any,
) -> Path | None:
    """Trains a tagger on a data set of sound; its file in `out`, or None if time ran out.

    recipe: `SOUND`, with tags `TAGS`, or changed; `crop` are frames of random stretches, which shorter sounds are
    repeated to fill, 0 takes whole sounds. tags: a column of text with tags between , or ;, each of which is learned
    for itself; without it labels are learned, one class a sample. validation: of samples that are never trained on,
    made by the same codec. running: fields of `Running`. The rest, and what is raised, as `run.train_head`; ValueError
    also for latents that are none of sound, for a column that is not there, empty or no text, for tags that only the
    validation has, and for flips.
    """
    recipe.check()
    if recipe.head not in HEADS or recipe.head.startswith(("dense", "clip")):
        raise ValueError(f"head {recipe.head!r} hears no tags; expected sound-s, convnext-s or -b, vit-s or -b")
    for data in (latents, validation):
        check_sound(data)
    if recipe.flip:
        raise ValueError(f"recipe: flip = {recipe.flip}: sound is not flipped; leave it at 0")
    how = Running(**running)
    task: OneClass | SeveralTags
    if tags is None:
        task = OneClass(latents, recipe, validation, how.workers)
    else:
        task = SeveralTags(latents, tags, recipe, validation, how.workers)
    return train_head(latents, task, recipe, out, how)


def check_sound(data: LatentDataset | None) -> None:
    """Raises ValueError for latents that are none of sound."""
    if data is not None and data.kind != "audio":
        raise ValueError(
            f"{data.path}: latents of kind {data.kind} ({data.origin['codec'].get('name')}), expected those of sound, "
            "as walloc-audio-f256c27 makes them; images are for isthmus train classify"
        )


def _views(recipe: HeadRecipe, samples: Stretches, classes: int) -> tuple[Views, list[str]]:
    """What is done to batches of stretches, and what people should know of it."""
    mixes = recipe.mixing == "none" or is_uniform(samples)
    notes = [] if mixes else ["sounds of several lengths, whole: no mixtures (--set crop=690 takes stretches)"]
    return Views(replace(recipe, crop=0), samples, classes), notes
