# SPDX-License-Identifier: Apache-2.0
"""A training of an adapter from a folder of photographs to the file of a head."""

import math
from copy import deepcopy
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from isthmus.codecs.registry import load
from isthmus.datasets.latents.analysed import AnalysedSource
from isthmus.devices import check_device
from isthmus.files import atomic_write, check_folder
from isthmus.models.backbones import BACKBONES, Backbone, last_layer, load_backbone
from isthmus.models.heads.adapter import AdaptedBackbone
from isthmus.optim.checkpoint import checkpoint_of
from isthmus.optim.loop import LoopSettings
from isthmus.optim.run_folder import check_run
from isthmus.training.adapters.judging import QUALITIES, KeptOut
from isthmus.training.adapters.latents import at_random_qualities, measured
from isthmus.training.adapters.photographs import RandomViews, random_part
from isthmus.training.adapters.recipe import AdapterRecipe
from isthmus.training.adapters.trainer import Distillation
from isthmus.training.heads.evaluation import labels_of, outputs_of
from isthmus.training.heads.logs import Curve
from isthmus.training.heads.saved import HeadFacts, save_head
from isthmus.training.heads.world import World, world_of

VALIDATIONS = 20  # of each stage
MEASURED = 64  # photographs that the statistics of latents are of
TEACHER = "teacher"  # folder of the first stage, in that of the run
FILES = ("curve.csv", TEACHER)
TEACHER_FILE = "backbone.safetensors"
COMMON = ("step", "loss", "samples_per_second")
FIELDS = {TEACHER: (*COMMON, "validation_accuracy"), "": (*COMMON, *(f"accuracy_{quality}" for quality in QUALITIES))}


@dataclass
class Session:
    """What the stages of a run share."""

    recipe: AdapterRecipe
    views: RandomViews
    kept: KeptOut | None
    held: str | None  # fingerprint of what is kept out
    codec: Any  # on the device
    world: World
    workers: int
    out: Path
    minutes: float
    save_minutes: float


def train_adapter(
    photographs: str | PathLike[str],
    recipe: AdapterRecipe,
    out: Path,
    *,
    validation: str | PathLike[str] | None = None,
    device: str = "cpu",
    workers: int = 0,
    minutes: float = math.inf,
    save_minutes: float = 3.0,
) -> Path | None:
    """Trains a backbone to read latents; the file of its head in `out`, or None if time ran out.

    photographs: what `transcode` takes; class folders, or labels of another kind, are learned, and without labels
    the backbone keeps its own classes. validation: photographs that are never trained on. Stopped or killed, the
    same call takes up the last checkpoint, to the same curve. Begun by torchrun, each process takes a part of every
    batch. minutes, save_minutes: as of `Running`, of each stage. Raises ValueError for what does not fit, for a
    checkpoint of other settings or photographs, and for a loss of nan.
    """
    recipe.check()
    out = Path(out)
    check_run(out, FILES)
    shape = {"resize": recipe.resize, "crop": recipe.size}
    kind = load(recipe.codec).kind
    if kind != "image":
        raise ValueError(f"{recipe.codec}: a codec of {kind}, backbones see images")
    source = AnalysedSource(photographs, recipe.codec, shape)
    labels = source.labels()
    labelled = bool((labels >= 0).any())
    if labelled and not recipe.tuning:
        raise ValueError(
            "recipe: tuning = 0, and the photographs have labels: the backbone does not know their classes; give it "
            "steps, or photographs without class folders, for the classes of ImageNet"
        )
    if validation is not None and not labelled:
        raise ValueError(f"{photographs}: no labels to judge {validation} by: leave it out, or use class folders")
    if labelled and len(np.unique(labels[labels >= 0])) < 2:
        raise ValueError(f"{photographs}: all photographs are of one class; expected two or more, or no labels")
    classes = outputs_of(str(photographs), labels, source.classes) if labelled else None
    pixels = BACKBONES[recipe.backbone].pixels if recipe.backbone in BACKBONES else None
    if pixels not in (None, recipe.size):
        raise ValueError(
            f"recipe: size = {recipe.size}, {recipe.backbone} sees {pixels}x{pixels} pixels: set size={pixels}"
        )
    with world_of(check_device(device)) as world:
        kept, held = None, AnalysedSource(validation, recipe.codec, shape) if validation is not None else None
        if held is not None and world.leads:
            kept = KeptOut(
                held,
                labels_of(str(validation), held.labels(), held.classes, source.classes, outputs=classes),
                world.device,
            )
        codec, views = load(recipe.codec, device=str(world.device)), RandomViews(source, recipe)
        session = Session(
            recipe, views, kept, held.fingerprint if held else None, codec, world, workers, out, minutes, save_minutes
        )
        backbone = _teacher(session, classes)
        return None if backbone is None else _student(session, backbone)


def _config(session: Session, stage: str) -> dict[str, Any]:
    return {
        **asdict(session.recipe), "stage": stage, "data": session.views.source.fingerprint, "validation": session.held,
    }  # fmt: skip


def _loop(session: Session, steps: int) -> LoopSettings:
    return LoopSettings(steps, session.minutes, session.save_minutes, max(1, steps // VALIDATIONS))


def _teacher(session: Session, classes: int | None) -> Backbone | None:
    """The backbone, tuned on pixels where there are classes; None if time ran out."""
    recipe, kept = session.recipe, session.kept
    torch.manual_seed(recipe.seed)
    backbone = load_backbone(recipe.backbone, classes).to(session.world.device)
    if classes is None or not recipe.tuning:
        return backbone
    source = session.views.source
    views = RandomViews(source, recipe, np.flatnonzero(source.labels() >= 0))
    lesson = Distillation(
        backbone, None, views, recipe, {"network": recipe.teacher_rate}, steps=recipe.tuning,
        world=session.world, workers=session.workers,
    )  # fmt: skip
    judge = deepcopy(backbone)

    def score() -> dict[str, float]:
        judge.load_state_dict(lesson.averaged())
        return {"validation_accuracy": kept.on_pixels(judge).accuracy} if kept else {}

    if not _go(session, lesson, TEACHER, recipe.tuning, score):
        return None
    backbone.load_state_dict(lesson.averaged())
    tensors = {name: value.cpu().contiguous() for name, value in backbone.state_dict().items()}
    if session.world.leads:
        atomic_write(session.out / TEACHER / TEACHER_FILE, save(tensors))
    return backbone.eval()


def _student(session: Session, teacher: Backbone) -> Path | None:
    recipe, kept, source = session.recipe, session.kept, session.views.source
    chance = np.random.default_rng(recipe.seed)
    some = np.unique(np.linspace(0, len(source) - 1, MEASURED).astype(int)).tolist()
    parts = [random_part(session.views.readable(index)[0], recipe.area, recipe.size, chance) for index in some]
    pixels = torch.from_numpy(np.stack(parts).transpose(0, 3, 1, 2).copy()).to(session.world.device)
    torch.manual_seed(recipe.seed)
    about = measured(session.codec, pixels, recipe.low, recipe.high)
    student = AdaptedBackbone(deepcopy(teacher), about)
    lesson = Distillation(
        student, teacher, session.views, recipe, {"adapter": recipe.adapter_rate, "tail": recipe.tail_rate},
        seen=lambda batch: at_random_qualities(
            session.codec, batch["pixels"].to(session.world.device, non_blocking=True), recipe.low, recipe.high
        ),
        steps=recipe.features + recipe.steps, features=recipe.features, world=session.world, workers=session.workers,
    )  # fmt: skip
    judge = deepcopy(student)
    floor = _floor(kept, teacher) if kept else {}

    def score() -> dict[str, float]:
        judge.load_state_dict(lesson.averaged())
        return {f"accuracy_{q}": kept.on_latents(judge, q).accuracy for q in QUALITIES} if kept else {}

    if not _go(session, lesson, "", recipe.features + recipe.steps, score) or not session.world.leads:
        return None
    results: dict[str, Any] = {"seconds": round(lesson.state.seconds), **score()}
    if kept:
        results |= {"teacher": kept.on_pixels(teacher).describe(), "previews": floor}
    origin = source.origin()
    outputs = last_layer(teacher)[1].out_features
    names = source.classes if outputs == len(source.classes or ()) else None
    facts = HeadFacts(
        "classify", f"adapter:{recipe.backbone}", about, outputs, names, origin["codec"], origin["settings"],
        recipe=asdict(recipe), results=results,
    )  # fmt: skip
    return save_head(session.out, facts, lesson.averaged())


def _floor(kept: KeptOut, teacher: nn.Module) -> dict[str, float]:
    """What the teacher makes of linear previews of the latents: no adapter may be below it."""
    found = {str(quality): kept.on_pixels(teacher, kept.previews(quality)).accuracy for quality in QUALITIES}
    told = ", ".join(f"{value:.4g} at quality {quality}" for quality, value in found.items())
    print(f"floor, the tuned backbone on linear previews: {told}", flush=True)
    return found


def _go(session: Session, lesson: Distillation, stage: str, steps: int, score: Any) -> bool:
    """Runs a stage in a folder of its own; whether it is complete."""
    folder, config = session.out / stage, _config(session, stage)
    check_folder(folder, parents=True)
    checkpoint = checkpoint_of(folder, config)
    done = checkpoint["step"] if checkpoint else -1
    curve = Curve(folder, done, fields=FIELDS[stage]) if session.world.leads else None

    def validate() -> str:
        values = {**lesson.meter.told(), **score()}
        if values and curve is not None:
            curve.add(lesson.state.step, values)
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        return f"{stage or 'student'}, step {lesson.state.step}: {told}" if told else ""

    return lesson.run(folder, config, _loop(session, steps), validate)
