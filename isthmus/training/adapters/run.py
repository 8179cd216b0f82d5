# SPDX-License-Identifier: Apache-2.0
"""A training of an adapter from a folder of photographs to the file of a head."""

from copy import deepcopy
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.codecs.registry import load
from isthmus.codecs.trained import identity_of
from isthmus.models.backbones import Backbone
from isthmus.models.heads import LatentInput
from isthmus.models.heads.adapter import AdaptedBackbone
from isthmus.training.adapters.judging import QUALITIES, KeptOut
from isthmus.training.adapters.latents import at_random_qualities, measured
from isthmus.training.adapters.photographs import RandomViews, random_part
from isthmus.training.adapters.recipe import AdapterRecipe
from isthmus.training.adapters.session import Session, session_of
from isthmus.training.adapters.trainer import Distillation
from isthmus.training.heads.saved import HeadFacts, save_head

MEASURED = 64  # photographs that the statistics of latents are of


def train_adapter(
    photographs: str | PathLike[str],
    recipe: AdapterRecipe,
    out: Path,
    *,
    validation: str | PathLike[str] | None = None,
    teacher: Path | None = None,
    **running: Any,
) -> Path | None:
    """Trains a backbone to read latents; the file of its head in `out`, or None if time ran out.

    photographs: what `transcode` takes; class folders, or labels of another kind, are learned, and without labels
    the backbone keeps its own classes. validation: photographs that are never trained on. teacher: the run, or the file
    in it, of a training that has tuned the backbone to these classes. Stopped or killed, the
    same call takes up the last checkpoint, to the same curve. Begun by torchrun, each process takes a part of every
    batch. running: fields of `isthmus.training.heads.running.Running`; minutes are of each stage. Raises ValueError
    for what does not fit, for a checkpoint of other settings or photographs, and for a loss of nan.
    """
    with session_of(photographs, recipe, out, validation, running, teacher=teacher) as session:
        backbone = session.tuned()
        if backbone is None:
            return None
        codec = load(recipe.codec, device=str(session.world.device))
        return train_tail(session, backbone, codec, _measured(session, codec))


def some_of(session: Session, count: int) -> Tensor:
    """Random parts of photographs: uint8 [count or fewer, 3, size, size]."""
    recipe, views = session.recipe, RandomViews(session.source, session.recipe)
    chance = np.random.default_rng(recipe.seed)
    places = np.unique(np.linspace(0, len(views) - 1, count).astype(int)).tolist()
    parts = [random_part(views.readable(place)[0], recipe.area, recipe.size, chance) for place in places]
    return torch.from_numpy(np.stack(parts).transpose(0, 3, 1, 2).copy())


def _measured(session: Session, codec: Any) -> LatentInput:
    pixels = some_of(session, MEASURED).to(session.world.device)
    torch.manual_seed(session.recipe.seed)
    return measured(codec, pixels, session.recipe.low, session.recipe.high)


def train_tail(
    session: Session, teacher: Backbone, codec: Any, about: LatentInput, begin: dict[str, Tensor] | None = None
) -> Path | None:
    """The last stage of a run: what reads latents learns; the file of its head, None if time ran out.

    begin: weights of an `AdaptedBackbone`, which then needs no stage of features.
    """
    recipe, kept, source, device = session.recipe, session.kept, session.source, session.world.device
    views, features = RandomViews(source, recipe), recipe.features if begin is None else 0
    student = AdaptedBackbone(deepcopy(teacher), about)
    if begin is not None:
        student.load_state_dict(begin)
    lesson = Distillation(
        student, teacher, views, recipe, {"adapter": recipe.adapter_rate, "tail": recipe.tail_rate},
        seen=lambda batch: at_random_qualities(
            codec, batch["pixels"].to(device, non_blocking=True), recipe.low, recipe.high
        ),
        steps=features + recipe.steps, features=features, world=session.world, workers=session.how.workers,
    )  # fmt: skip
    judge = deepcopy(student)
    floor = _floor(kept, teacher) if kept else {}

    def score() -> dict[str, float]:
        judge.load_state_dict(lesson.averaged())
        return {f"accuracy_{q}": kept.on_latents(judge, q).accuracy for q in QUALITIES} if kept else {}

    fields = [f"accuracy_{quality}" for quality in QUALITIES]
    if not session.go(lesson, "", features + recipe.steps, fields, score) or not session.world.leads:
        return None
    results: dict[str, Any] = {"seconds": round(lesson.state.seconds), **score()}
    if kept:
        results |= {"teacher": kept.on_pixels(teacher).describe(), "previews": floor}
    origin, outputs = source.origin(), session.outputs_of(teacher)
    names = source.classes if outputs == len(source.classes or ()) else None
    facts = HeadFacts(
        "classify", session.head, about, outputs, names, identity_of(codec),
        {**origin["settings"], "codec": codec.name, "weights": codec.weights_hash},
        recipe=asdict(recipe), results=results,
    )  # fmt: skip
    return save_head(session.out, facts, lesson.averaged())


def _floor(kept: KeptOut, teacher: nn.Module) -> dict[str, float]:
    """What the teacher makes of linear previews of the latents: no adapter may be below it."""
    found = {str(quality): kept.on_pixels(teacher, kept.previews(quality)).accuracy for quality in QUALITIES}
    told = ", ".join(f"{value:.4g} at quality {quality}" for quality, value in found.items())
    print(f"floor, the tuned backbone on linear previews: {told}", flush=True)
    return found
