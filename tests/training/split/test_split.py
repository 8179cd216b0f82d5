# SPDX-License-Identifier: Apache-2.0
"""Split networks learn from photographs, to the same curve when stopped; a codec and a head come out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import isthmus
from isthmus.datasets import LatentDataset, transcode
from isthmus.errors import CorruptStreamError, UnreadableFileError, WeightsMismatchError
from isthmus.models.backbones import load_backbone
from isthmus.split.model import SplitModel
from isthmus.split.tail import Tail
from isthmus.training.adapters.trainer import Distillation
from isthmus.training.heads import HeadRecipe, evaluate, load_head, train_classifier
from isthmus.training.heads.evaluation import labels_as
from isthmus.training.split import SplitRecipe, train_split
from tests.training.adapters.test_adapter import curve
from tests.training.heads.conftest import photos

TINY = SplitRecipe(
    tuning=2, features=2, joint=2, steps=2, batch=4, size=64, resize=64, warmup=1, average=0.5, channels=3, contexts=4,
    watching="blocks.6,blocks.9",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("split"), 5, 3)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("split") / "run"
    assert train_split(folder, TINY, out, validation=folder) == out / "head.safetensors"
    return out


def test_a_codec_and_a_head_come_out(folder: Path, run: Path, tmp_path: Path) -> None:
    head, facts = load_head(run)
    assert facts.head == "adapter:efficientnet" and facts.classes == ["flat", "rough"]
    assert facts.codec["name"] == "codec.safetensors" and facts.input.channels == 3
    rows = curve(run / "bottleneck" / "curve.csv")
    assert float(rows[-1]["bytes_100"]) > float(rows[-1]["bytes_1"]) > 0 and "accuracy_50" in rows[-1]

    codec = str(run / "codec.safetensors")
    transcode(folder, tmp_path / "sent", codec=codec, resize=64, crop=64, quality=50, workers=0, progress=False)
    data = LatentDataset(tmp_path / "sent")
    found = evaluate(head, data, labels_as(data, facts.classes))
    assert found.accuracy == pytest.approx(facts.results["accuracy_50"])
    again = train_classifier(
        data, HeadRecipe(head=facts.head, epochs=1, batch=5, warmup=1), tmp_path / "tail", init=run
    )
    assert again is not None and load_head(again)[1].codec["weights_hash"] == facts.codec["weights_hash"]

    split = SplitModel.load(run)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sent = split.head(picture)
    tail = Tail.open(run)
    latents, errors = tail.unpack([sent, isthmus.encode(picture)])
    assert list(errors) == [1] and isinstance(errors[1], WeightsMismatchError)
    assert torch.allclose(tail.logits(torch.stack(latents))[0], split.tail(sent), atol=1e-5)


def test_a_training_that_was_stopped_goes_on_to_the_same_curve(
    folder: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, stops = Distillation._step, iter([1, 4])
    place = [next(stops)]

    def killed(own: Distillation, batch: dict[str, Any]) -> Callable[[], str]:
        if place[0] == 0:
            place[0] = next(stops, -1)
            raise KeyboardInterrupt
        place[0] -= 1
        return step(own, batch)

    monkeypatch.setattr(Distillation, "_step", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_split(folder, TINY, tmp_path / "parts", validation=folder, save_minutes=-1)
    assert train_split(folder, TINY, tmp_path / "parts", validation=folder)
    for name in ("head.safetensors", "codec.safetensors"):
        one, other = load_file(run / name), load_file(tmp_path / "parts" / name)
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    with pytest.raises(ValueError, match="made with other settings"):
        train_split(folder, replace(TINY, low_price=1e-3), tmp_path / "parts", validation=folder)


def test_the_first_stage_leaves_what_is_behind(folder: Path, tmp_path: Path) -> None:
    teacher = load_backbone("efficientnet", 2)
    recipe = replace(TINY, joint=0, steps=1, tail_rate=1e-12)
    train_split(folder, recipe, tmp_path, backbone=teacher)
    kept = load_file(tmp_path / "head.safetensors")
    for name, value in teacher.state_dict().items():
        if name.startswith("network.blocks.9") and name.endswith("weight"):
            assert torch.allclose(kept[f"tail.{name}"], value, atol=1e-6)


def test_other_teachers_and_places(folder: Path, run: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, at="blocks.3", watching="", joint=1, features=0, steps=1)
    path = train_split(folder, recipe, tmp_path / "run", teacher=run)
    assert path and not (tmp_path / "run" / "teacher").exists()
    head, facts = load_head(path)
    assert facts.head == "adapter:efficientnet@blocks.3" and SplitModel.load(tmp_path / "run").facts == facts
    with pytest.raises(UnreadableFileError, match="no tuned backbone"):
        train_split(folder, recipe, tmp_path / "a", teacher=tmp_path)
    with pytest.raises(CorruptStreamError, match="not the weights of this backbone"):
        train_split(folder, replace(recipe, backbone="resnet18", at="layer2"), tmp_path / "b", teacher=run)
    with pytest.raises(ValueError, match="the backbone says 3 classes, the photographs are of 2"):
        train_split(folder, recipe, tmp_path / "c", backbone=load_backbone("efficientnet", 3))
    with pytest.raises(ValueError, match=r"no module 'network.blocks.99' in Backbone; there are network.blocks.9"):
        train_split(folder, replace(TINY, watching="blocks.99"), tmp_path / "d", teacher=run)
    for name, value in (("channels", 0), ("low_price", 0.0), ("high_price", 1.0), ("joint", -1)):
        with pytest.raises(ValueError, match=f"recipe: {name} = "):
            train_split(folder, replace(TINY, **{name: value}), tmp_path / "e")
