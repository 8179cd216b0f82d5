# SPDX-License-Identifier: Apache-2.0
"""A training of a split network from a folder of photographs: the codec of a device, and the head of a server."""

from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.codecs.bottlefit.codec import BottlefitCodec
from isthmus.codecs.bottlefit.weights import BottlefitWeights, save_weights
from isthmus.codecs.registry import OF_RUN
from isthmus.codecs.trained_file import TrainedFile
from isthmus.models.backbones import Backbone
from isthmus.models.levels import quality_to_level
from isthmus.models.split import SplitStudent, read_of
from isthmus.training.adapters.judging import QUALITIES
from isthmus.training.adapters.photographs import RandomViews
from isthmus.training.adapters.run import some_of, train_tail
from isthmus.training.adapters.session import BOTTLENECK, Session, session_of
from isthmus.training.adapters.trainer import Distillation
from isthmus.training.split.recipe import SplitRecipe
from isthmus.training.split.tables import weights_of

COUNTED = 256  # photographs that the tables are of


def train_split(
    photographs: str | PathLike[str], recipe: SplitRecipe, out: Path, *, validation: str | PathLike[str] | None = None,
    backbone: Backbone | None = None, teacher: Path | None = None, **running: Any,
) -> Path | None:  # fmt: skip
    """Trains what a device computes and what a server does; the file of the server's head, or None if time ran out.

    photographs, validation, running: as of `train_adapter`; it writes codec.safetensors beside head.safetensors.
    backbone: instead of the recipe's one, as `backbone_at` makes it. teacher: the run, or the file in it, of a training
    that has tuned the backbone to these classes. Stopped or killed, the same call takes up the last checkpoint, to the
    same curve. Raises as `train_adapter`.
    """
    with session_of(photographs, recipe, out, validation, running, given=backbone, teacher=teacher) as session:
        tuned = session.tuned()
        found = None if tuned is None else _bottleneck(session, recipe, tuned)
        if tuned is None or found is None:
            return None
        codec, begin = found
        session.kept = session.kept and session.kept.reading(codec)
        return train_tail(session, tuned, codec, read_of(recipe.bottleneck), begin)


def _bottleneck(
    session: Session, recipe: SplitRecipe, teacher: Backbone
) -> tuple[BottlefitCodec, dict[str, Tensor]] | None:
    """The codec of a device, and what the head of the server begins with; None if time ran out."""
    kept, device = session.kept, session.world.device
    torch.manual_seed(recipe.seed)
    student = SplitStudent(
        deepcopy(teacher), recipe.bottleneck, recipe.low_price, recipe.high_price, keep=recipe.watched
    )
    lesson = Distillation(
        student, teacher, RandomViews(session.source, recipe), recipe,
        {"adapter.bottleneck": recipe.bottleneck_rate, "adapter.rate": recipe.bottleneck_rate,
         "adapter.adapter": recipe.adapter_rate, "tail": recipe.tail_rate},
        steps=recipe.features + recipe.joint, features=recipe.features, world=session.world,
        workers=session.how.workers, cost=lambda: student.adapter.cost, watching=recipe.watched,
    )  # fmt: skip
    judge = AtQuality(deepcopy(student))

    def score() -> dict[str, float]:
        judge.student.load_state_dict(lesson.averaged())
        found: dict[str, float] = {}
        for quality in QUALITIES if kept else ():
            judge.quality, judge.bits = quality, []
            assert kept is not None
            found[f"accuracy_{quality}"] = kept.on_pixels(judge).accuracy
            found[f"bytes_{quality}"] = float(torch.cat(judge.bits).mean()) / 8
        return found

    fields = [f"{name}_{quality}" for quality in QUALITIES for name in ("accuracy", "bytes")]
    if not session.go(lesson, BOTTLENECK, recipe.features + recipe.joint, fields, score):
        return None
    student.load_state_dict(lesson.averaged())
    student.eval()
    path = session.out / OF_RUN
    if path.is_file():
        weights = BottlefitWeights.read(TrainedFile(path))
    else:
        weights = weights_of(
            deepcopy(student.adapter.bottleneck), list(some_of(session, COUNTED)), contexts=recipe.contexts,
            device=str(device), seed=recipe.seed,
        )  # fmt: skip
        if session.world.leads:
            save_weights(path, weights)
    return BottlefitCodec(OF_RUN, weights, str(device)), student.adapted_state()


class AtQuality(nn.Module):
    """A student as it is judged: pixels to logits at a quality. bits: of the pictures that it saw, batch by batch."""

    def __init__(self, student: SplitStudent) -> None:
        super().__init__()
        self.student, self.quality = student, QUALITIES[0]
        self.bits: list[Tensor] = []

    def forward(self, pixels: Tensor) -> Tensor:
        level = torch.full((len(pixels),), quality_to_level(self.quality, self.student.adapter.levels))
        found: Tensor = self.student(pixels, level.to(pixels.device))
        self.bits.append(self.student.adapter.bits.cpu())
        return found
