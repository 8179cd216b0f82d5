# SPDX-License-Identifier: Apache-2.0
"""Taggers of sound: they learn classes and tags, hear stretches of any length, and say what is wrong."""

import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus.datasets import LatentDataset
from isthmus.models.heads import HEADS
from isthmus.models.heads.convnext import ConvNextClassifier, ConvNextConfig
from isthmus.samples import ASTRONAUT
from isthmus.training.heads import evaluate, load_head
from isthmus.training.heads.batches import Place
from isthmus.training.heads.evaluation import labels_as
from isthmus.training.heads.prediction import Predictor
from isthmus.training.heads.tagging import SOUND, TAGS, judge_tags, train_tagger
from isthmus.training.heads.tagging.columns import read_tags, targets_of
from isthmus.training.heads.tagging.stretches import Stretches
from tests.training.heads.tagging.sounds import heard

RECIPE = replace(SOUND, head="tiny", epochs=12, batch=8, crop=60, rate=4e-3, warmup=3, average=0.8)


@pytest.fixture(autouse=True)
def tiny() -> Iterator[None]:
    HEADS["tiny"] = ConvNextClassifier, ConvNextConfig((8, 16), (1, 1), 3)
    yield
    del HEADS["tiny"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> LatentDataset:
    return heard(tmp_path_factory.mktemp("folders"), 8, 1)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatentDataset:
    return heard(tmp_path_factory.mktemp("table"), 9, 2, table=True)


def test_classes(folders: LatentDataset, tmp_path: Path) -> None:
    assert train_tagger(folders, RECIPE, tmp_path, validation=folders)
    head, facts = load_head(tmp_path)
    assert (facts.task, facts.classes, facts.asked) == ("tag", ["hiss", "hum"], {})
    found = evaluate(head, folders, labels_as(folders, facts.classes))
    assert found.accuracy > 0.9 and facts.results["validation"]["accuracy"] == found.accuracy
    shares = Predictor(head, facts).file(Path(folders.path).parent / "sounds" / "hum" / "0.wav")
    assert sum(shares.values()) == pytest.approx(1) and shares["hum"] > 0.5


def test_tags(table: LatentDataset, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="2 of 18 samples have no tags and are left out"):
        assert train_tagger(
            table, replace(RECIPE, epochs=30, smoothing=TAGS.smoothing), tmp_path, tags="tags", validation=table
        )
    assert "validation_map" in (tmp_path / "curve.csv").read_text()
    head, facts = load_head(tmp_path)
    assert (facts.task, facts.asked) == ("tag", {"tags": "tags"})
    assert facts.classes == ["Motor", "Noise", "Tone", "Wind"]
    judged = judge_tags(head, table, targets_of(read_tags(table, "tags"), facts.classes, table.path))
    assert len(judged.truth) == 16 and judged.truth.sum(0).tolist() == [8, 8, 8, 4]
    assert judged.precisions[:3].min() > 0.9 and judged.map == facts.results["validation"]["map"]
    shares = Predictor(head, facts).file(Path(table.path).parent / "sounds" / "hum" / "1.wav")
    assert shares["Tone"] > 0.5 and shares["Motor"] > 0.5 and shares["Noise"] < 0.5  # each for itself


def test_stretches(folders: LatentDataset) -> None:
    assert folders.shapes["y"] is None
    one, again = Stretches(folders, 20, 3), Stretches(folders, 20, 3)
    first = [sample["y"] for sample in one.__getitems__([2, 5, 7])]
    assert all(y.shape == (27, 20) for y in first) and one.shapes == {"y": (27, 20)}
    assert all(torch.equal(a, b["y"]) for a, b in zip(first, again.__getitems__([2, 5, 7]), strict=True))
    others = [Stretches(folders, 20, seed).__getitems__([2, 5, 7]) for seed in range(4, 12)]
    assert any(not torch.equal(first[0], sample[0]["y"]) for sample in others)
    whole = folders[2]["y"]
    assert any(torch.equal(first[0], whole[:, start : start + 20]) for start in range(whole.shape[1]))
    each_time = [one.__getitems__([Place(2, number)])[0]["y"] for number in range(8)]  # of batches of one too
    assert any(not torch.equal(each_time[0], y) for y in each_time)
    assert pickle.loads(pickle.dumps(Place(2, 9))).number == 9
    long = Stretches(folders, 400, 0)[2]["y"]  # repeated
    assert torch.equal(long, torch.cat([whole] * 9, 1)[:, :400])
    assert Stretches(folders, 0, 0)[2]["y"].shape == whole.shape
    targets = torch.from_numpy(np.eye(len(folders), dtype=np.float32))
    assert torch.equal(Stretches(folders, 5, 0, targets)[2]["label"], targets[2])


def test_whole_sounds_have_no_mixtures(
    folders: LatentDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_tagger(folders, replace(RECIPE, epochs=1, crop=0), tmp_path)
    assert "whole: no mixtures" in capsys.readouterr().err


def test_what_is_refused(folders: LatentDataset, table: LatentDataset, tmp_path: Path) -> None:
    for column, message in (
        ("tagz", "no column 'tagz'; it has key, .*: expected tags between , or ; in a column of the table"),
        ("empty", "column 'empty' is empty in all 18 samples: expected tags"),
        ("samples", r"column 'samples' of sample 0 holds \d+: expected tags"),
        ("payload", "payload is a stream"),
    ):
        with pytest.raises(ValueError, match=message):
            train_tagger(table, RECIPE, tmp_path / "x", tags=column)
    with pytest.raises(ValueError, match="no labels"):
        train_tagger(table, RECIPE, tmp_path / "x")
    with pytest.raises(ValueError, match="sound is not flipped"):
        train_tagger(folders, replace(RECIPE, flip=0.5), tmp_path / "x")
    with pytest.raises(ValueError, match="hears no tags"):
        train_tagger(folders, replace(RECIPE, head="dense-s"), tmp_path / "x")
    (tmp_path / "photos").mkdir()
    shutil.copy(ASTRONAUT, tmp_path / "photos")
    images = LatentDataset(tmp_path / "photos", codec="walloc-image-f8c12")
    with pytest.raises(ValueError, match="latents of kind image .*, expected those of sound, as walloc-audio"):
        train_tagger(images, RECIPE, tmp_path / "x")
    with pytest.raises(ValueError, match="tag 'Motor' is none of the 1 .*, and so are 1 more"):
        targets_of([["Noise", "Motor"], ["Tone"]], ["Noise"], "here")
