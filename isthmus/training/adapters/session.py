# SPDX-License-Identifier: Apache-2.0
"""What trainings from photographs share: what is seen and kept out, a tuned backbone, stages in their own folders."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from isthmus.codecs.registry import OF_RUN, load
from isthmus.datasets.latents.analysed import AnalysedSource
from isthmus.devices import check_device
from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.files import atomic_write, check_folder
from isthmus.models.backbones import BACKBONES, Backbone, backbone_at, load_backbone
from isthmus.models.heads import ADAPTER
from isthmus.optim.checkpoint import checkpoint_of
from isthmus.optim.loop import LoopSettings
from isthmus.optim.run_folder import check_run
from isthmus.training.adapters.judging import KeptOut
from isthmus.training.adapters.photographs import RandomViews
from isthmus.training.adapters.recipe import AdapterRecipe
from isthmus.training.adapters.trainer import Distillation
from isthmus.training.heads.evaluation import labels_of, outputs_of
from isthmus.training.heads.logs import NAME, Curve
from isthmus.training.heads.running import Running
from isthmus.training.heads.world import World, world_of

VALIDATIONS = 20  # of each stage
TEACHER, TEACHER_FILE = "teacher", "backbone.safetensors"  # the folder of the tuned backbone, in that of the run
BOTTLENECK = "bottleneck"  # of the stage that trains one
COMMON = ("step", "loss", "samples_per_second")


Score = Callable[[], dict[str, float]]  # what a student is worth now


@dataclass
class Session:
    """What the stages of a run share. held: fingerprint of what is kept out. classes: None without labels. given: a
    backbone instead of one by name; teacher: the file of one that is tuned already."""

    recipe: AdapterRecipe
    source: AnalysedSource
    kept: KeptOut | None
    held: str | None
    classes: int | None
    world: World
    out: Path
    how: Running
    given: Backbone | None = None
    teacher: Path | None = None

    @property
    def head(self) -> str:
        """What a head of its backbone is called."""
        at = getattr(self.recipe, "at", "")
        return f"{ADAPTER}{self.recipe.backbone}{'@' if at else ''}{at}"

    @torch.no_grad()
    def outputs_of(self, backbone: Backbone) -> int:
        """How many classes a backbone tells apart."""
        size = self.recipe.size
        return int(backbone.eval()(torch.zeros(1, 3, size, size, device=self.world.device)).shape[1])

    def go(self, lesson: Distillation, stage: str, steps: int, fields: Sequence[str], score: Score) -> bool:
        """Runs a stage in its folder, "" that of the run; whether it is complete. fields: of what `score` gives."""
        folder = self.out / stage
        check_folder(folder, parents=True)
        config = {**asdict(self.recipe), "stage": stage, "data": self.source.fingerprint, "validation": self.held}
        checkpoint = checkpoint_of(folder, config)
        done = checkpoint["step"] if checkpoint else -1
        curve = Curve(folder, done, fields=(*COMMON, *fields)) if self.world.leads else None

        def validate() -> str:
            values = {**lesson.meter.told(), **score()}
            if values and curve is not None:
                curve.add(lesson.state.step, values)
            told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            return f"{stage or 'student'}, step {lesson.state.step}: {told}" if told else ""

        loop = LoopSettings(steps, self.how.minutes, self.how.save_minutes, max(1, steps // VALIDATIONS))
        return lesson.run(folder, config, loop, validate)

    def tuned(self) -> Backbone | None:
        """The backbone, tuned on pixels where there are classes; None if time ran out."""
        recipe, kept = self.recipe, self.kept
        torch.manual_seed(recipe.seed)
        backbone = self.given
        if backbone is None:
            backbone = load_backbone(recipe.backbone, self.classes, pretrained=self.teacher is None)
        at = getattr(recipe, "at", "")
        backbone = (backbone_at(backbone, at, size=recipe.size) if at else backbone).to(self.world.device)
        if self.given is not None and self.classes not in (None, outputs := self.outputs_of(backbone)):
            raise ValueError(f"the backbone says {outputs} classes, the photographs are of {self.classes}")
        if self.teacher is not None:
            return load_tuned(backbone, self.teacher)
        if self.classes is None or not recipe.tuning:
            return backbone
        views = RandomViews(self.source, recipe, np.flatnonzero(self.source.labels() >= 0))
        lesson = Distillation(
            backbone, None, views, recipe, {"network": recipe.teacher_rate}, steps=recipe.tuning, world=self.world,
            workers=self.how.workers,
        )  # fmt: skip
        judge = deepcopy(backbone)

        def score() -> dict[str, float]:
            judge.load_state_dict(lesson.averaged())
            return {"validation_accuracy": kept.on_pixels(judge).accuracy} if kept else {}

        if not self.go(lesson, TEACHER, recipe.tuning, ("validation_accuracy",), score):
            return None
        backbone.load_state_dict(lesson.averaged())
        tensors = {name: value.cpu().contiguous() for name, value in backbone.state_dict().items()}
        if self.world.leads:
            atomic_write(self.out / TEACHER / TEACHER_FILE, save(tensors))
        return backbone.eval()


def load_tuned(backbone: Backbone, path: Path) -> Backbone:
    """A backbone with the weights that a training has tuned. Raises UnreadableFileError, CorruptStreamError."""
    path = path / TEACHER / TEACHER_FILE if path.is_dir() else path
    if not path.is_file():
        raise UnreadableFileError(f"{path}: no tuned backbone; expected the folder of a run, or its {TEACHER_FILE}")
    try:
        backbone.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        told = " ".join(str(error).split())[:300]
        raise CorruptStreamError(f"{path}: not the weights of this backbone with these classes: {told}") from error
    return backbone.eval()


@contextmanager
def session_of(
    photographs: str | PathLike[str], recipe: AdapterRecipe, out: Path, validation: str | PathLike[str] | None,
    running: dict[str, Any], *, given: Backbone | None = None, teacher: Path | None = None,
) -> Iterator[Session]:  # fmt: skip
    """A run, checked before anything is read. Raises ValueError, UnreadableFileError, UnwritableFileError."""
    recipe.check()
    out = Path(out)
    how = Running(**running)
    check_run(out, (NAME, TEACHER, BOTTLENECK, OF_RUN))
    shape = {"resize": recipe.resize, "crop": recipe.size}
    kind = load(recipe.codec).kind
    if kind != "image":
        raise ValueError(f"{recipe.codec}: a codec of {kind}, backbones see images")
    source = AnalysedSource(photographs, recipe.codec, shape)
    labels = source.labels()
    labelled = bool((labels >= 0).any())
    if labelled and not recipe.tuning and teacher is None and given is None:
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
    with world_of(check_device(how.device), how.accelerator) as world:
        kept, held = None, AnalysedSource(validation, recipe.codec, shape) if validation is not None else None
        if held is not None and world.leads:
            truth = labels_of(str(validation), held.labels(), held.classes, source.classes, outputs=classes)
            kept = KeptOut(held, truth, world.device)
        yield Session(
            recipe, source, kept, held.fingerprint if held else None, classes, world, out, how, given, teacher
        )
