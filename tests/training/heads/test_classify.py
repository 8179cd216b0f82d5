# SPDX-License-Identifier: Apache-2.0
"""Classifiers on latents: they learn, go on to the same curve, and say what is wrong."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import isthmus
from isthmus.datasets import LatentDataset
from isthmus.errors import CorruptStreamError, UnknownCodecError, UnreadableFileError, WeightsMismatchError
from isthmus.models.heads import HEADS
from isthmus.models.heads.convnext import ConvNextClassifier, ConvNextConfig
from isthmus.optim.run_folder import alone_in
from isthmus.training.heads import HeadRecipe, evaluate, load_head, train_classifier
from isthmus.training.heads.batches import EndlessBatches
from isthmus.training.heads.evaluation import labels_as
from isthmus.training.heads.prediction import Predictor
from isthmus.training.heads.trainer import HeadTrainer
from tests.training.heads.conftest import latents

RECIPE = HeadRecipe(head="tiny", epochs=5, batch=16, rate=4e-3, warmup=3, average=0.8, accumulate=2)


@pytest.fixture(autouse=True)
def tiny() -> Iterator[None]:
    HEADS["tiny"] = ConvNextClassifier, ConvNextConfig((8, 16), (1, 1), 3)
    yield
    del HEADS["tiny"]


def test_it_learns_and_is_used(train: LatentDataset, held: LatentDataset, tmp_path: Path) -> None:
    path = train_classifier(train, replace(RECIPE, epochs=20, mixing="none"), tmp_path, validation=held)
    assert path is not None
    head, facts = load_head(tmp_path)
    found = evaluate(head, held, labels_as(held, facts.classes))
    low, high = found.interval()
    assert found.accuracy > 0.9 and low <= found.accuracy <= high and found.against(found) == (0, 0, 0)
    assert facts.results["validation"]["accuracy"] == found.accuracy and facts.classes == ["flat", "rough"]
    assert (tmp_path / "curve.csv").read_text().startswith("step,")
    predictor, source = Predictor(head, facts), Path(held.path).parent / "photos"
    shares = predictor.file(source / "rough" / "0.png")
    assert sum(shares.values()) == pytest.approx(1) and shares["rough"] > 0.5
    stream = tmp_path / "rough.ist"
    stream.write_bytes(isthmus.encode(source / "rough" / "0.png", codec="walloc-image-f8c12", quality=60))
    assert predictor.file(stream) == pytest.approx(shares)
    stream.write_bytes(isthmus.encode(source / "rough" / "0.png", codec="walloc-image-f8c48"))
    with pytest.raises(WeightsMismatchError, match="the head reads latents of walloc-image-f8c12"):
        predictor.file(stream)
    with pytest.raises(WeightsMismatchError, match="the head's latents are of"):
        Predictor(head, facts, codec="walloc-image-f8c48")
    own = replace(facts, codec={**facts.codec, "name": "mine.safetensors"})
    with pytest.raises((UnknownCodecError, UnreadableFileError), match="mine"):
        Predictor(head, own)


def test_a_training_that_was_stopped_goes_on_to_the_same_curve(
    train: LatentDataset, held: LatentDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_classifier(train, RECIPE, tmp_path / "whole", validation=held)
    step = HeadTrainer._step

    def killed(own: HeadTrainer, parts: list[dict[str, Any]]) -> Callable[[], str]:
        if own.state.step == 7:
            raise KeyboardInterrupt
        return step(own, parts)

    with monkeypatch.context() as patch:
        patch.setattr(HeadTrainer, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train_classifier(train, RECIPE, tmp_path / "parts", validation=held, save_minutes=-1)
    parts = train_classifier(train, RECIPE, tmp_path / "parts", validation=held, save_minutes=-1)
    assert whole is not None and parts is not None
    one, other = load_file(whole), load_file(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)
    curves = [
        list(csv.DictReader((tmp_path / name / "curve.csv").read_text().splitlines())) for name in ("whole", "parts")
    ]
    assert len(curves[0]) > 4
    for row, again in zip(*curves, strict=True):
        assert {**row, "samples_per_second": ""} == {**again, "samples_per_second": ""}


def test_what_is_refused(train: LatentDataset, held: LatentDataset, tmp_path: Path) -> None:
    run, few = tmp_path / "run", replace(RECIPE, epochs=0.5)
    assert train_classifier(train, few, run)
    with pytest.raises(ValueError, match=r"made with other settings \(rate\)"):
        train_classifier(train, replace(few, rate=1e-3), run)
    with pytest.raises(ValueError, match=r"made with other settings \(.*data"):
        train_classifier(held, few, run)
    with pytest.raises(ValueError, match="does not classify"):
        train_classifier(train, replace(few, head="dense-s"), tmp_path / "x")
    with pytest.raises(ValueError, match="epochs = 0"):
        train_classifier(train, replace(few, epochs=0), tmp_path / "x")
    with pytest.raises(ValueError, match="no multiple of accumulate"):
        train_classifier(train, replace(few, batch=15), tmp_path / "x")
    one = LatentDataset(Path(train.path).parent / "photos" / "flat", codec="walloc-image-f8c12")
    with pytest.raises(ValueError, match="no labels"):
        train_classifier(one, few, tmp_path / "x")
    folder = LatentDataset(Path(held.path).parent / "photos", codec="walloc-image-f8c12")  # whose sizes nobody knows
    assert folder.origin["codec"]["name"] == train.origin["codec"]["name"]
    with pytest.raises(ValueError, match="crop: samples of several sizes"):
        train_classifier(folder, replace(few, crop=4), tmp_path / "x")
    other = LatentDataset(Path(held.path).parent / "photos", codec="walloc-image-f8c48")
    with pytest.raises(ValueError, match="make both with one codec"):
        train_classifier(train, few, tmp_path / "x", validation=other)


def test_classes_that_training_does_not_have(train: LatentDataset, tmp_path: Path) -> None:
    more = latents(tmp_path, 1, 3)
    assert labels_as(more, ["rough", "flat"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match="class 'flat' is none of the 1"):
        labels_as(more, ["rough"])


def test_a_loss_that_is_no_number_ends_it(
    train: LatentDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = HeadTrainer._step

    def poisoned(own: HeadTrainer, parts: list[dict[str, Any]]) -> Callable[[], str]:
        if own.state.step == 3:
            nn.init.constant_(own.head.output.weight, float("nan"))
        return step(own, parts)

    monkeypatch.setattr(HeadTrainer, "_step", poisoned)
    with pytest.raises(ValueError, match="step 3: the loss is nan.*checkpoint before stays"):
        train_classifier(train, RECIPE, tmp_path, save_minutes=-1)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["step"] == 3


def test_files_that_are_no_heads(train: LatentDataset, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="no trained head"):
        load_head(tmp_path)
    path = train_classifier(train, replace(RECIPE, epochs=0.1), tmp_path)
    assert path is not None
    data = path.read_bytes()
    for damaged in (data[:-40], b"", data.replace(b"classify", b"classifx").replace(b'\\"tiny', b'\\"tony')):
        path.write_bytes(damaged)
        with pytest.raises(CorruptStreamError, match="not a trained head"):
            load_head(path)


def test_batches_are_known_for_any_step() -> None:
    indices = np.arange(3, 13)
    one = iter(EndlessBatches(indices, 4, 7))
    whole = [next(one) for _ in range(10)]
    late = iter(EndlessBatches(indices, 4, 7, first=6))
    assert [next(late) for _ in range(4)] == whole[6:]
    assert sorted(i for batch in whole[:5] for i in batch) == sorted([*indices] * 2)
    ranks = [iter(EndlessBatches(indices, 4, 7, parts=2, rank=rank, world=2)) for rank in (0, 1)]
    assert sorted(i for rank in ranks for _ in range(2) for i in next(rank)) == sorted(whole[0])
    with pytest.raises(ValueError, match="no multiple"):
        EndlessBatches(indices, 4, 7, world=3)
    with pytest.raises(ValueError, match="no samples"):
        EndlessBatches([], 4, 7)


def test_an_accelerator_says_where(train: LatentDataset, tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    plain = train_classifier(train, replace(RECIPE, epochs=1), tmp_path / "plain")
    accelerator = accelerate.Accelerator(cpu=True)
    other = train_classifier(train, replace(RECIPE, epochs=1), tmp_path / "other", accelerator=accelerator)
    assert plain is not None and other is not None
    one, two = load_file(plain), load_file(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
    accelerator.state._mixed_precision = "fp16"
    with pytest.raises(ValueError, match="mixed_precision 'fp16', expected 'no' or 'bf16'"):
        train_classifier(train, RECIPE, tmp_path / "half", accelerator=accelerator)


def test_a_folder_is_of_one_training(train: LatentDataset, held: LatentDataset, tmp_path: Path) -> None:
    few = replace(RECIPE, epochs=1)
    with alone_in(tmp_path / "busy"), pytest.raises(ValueError, match="another process is training into it"):
        train_classifier(train, few, tmp_path / "busy")
    mine = tmp_path / "mine" / "photo.jpg"
    mine.parent.mkdir()
    mine.write_bytes(b"x")
    with pytest.raises(ValueError, match="holds photo.jpg, and no checkpoint"):
        train_classifier(train, few, mine.parent)
    run = tmp_path / "run"
    assert train_classifier(train, few, run, validation=held)
    (run / "step-best.safetensors").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"other settings \(validation\)"):
        train_classifier(train, few, run, validation=train)
    pointer = json.loads((run / "checkpoint.json").read_text())
    for change, message in (
        ({"step": "x"}, "no checkpoint, or a damaged one"),
        ({"files": {"model": "../../etc/passwd", "optimizer": "x"}}, "no checkpoint, or a damaged one"),
        ({"step": 10**9}, "is of step 1000000000, this training has"),
        ({"files": {**pointer["files"], "model": "step-0000001.model.safetensors"}}, "cannot be read"),
    ):
        (run / "checkpoint.json").write_text(json.dumps({**pointer, **change}))
        with pytest.raises(ValueError, match=message):
            train_classifier(train, few, run, validation=held)
    (run / "checkpoint.json").write_text(json.dumps(pointer))
    (run / "curve.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="not the curve of this training"):
        train_classifier(train, few, run, validation=held)
    assert (run / "step-best.safetensors").read_bytes() == b"mine"


def test_weights_that_are_no_numbers_are_never_saved(train: LatentDataset, tmp_path: Path) -> None:
    wild = replace(RECIPE, epochs=2, rate=1e11, warmup=1, clip=1e9, accumulate=1, mixing="none")
    with pytest.raises(ValueError, match="is no number|the loss is"):
        train_classifier(train, wild, tmp_path, save_minutes=-1)
    assert not (tmp_path / "head.safetensors").exists()
    for name, value in (("rate", float("inf")), ("decay", -1.0), ("seed", -1), ("seed", 10**23)):
        with pytest.raises(ValueError, match=f"recipe: {name} = "):
            train_classifier(train, replace(RECIPE, **{name: value}), tmp_path / "x")
    with pytest.raises(ValueError, match="minutes: nan"):
        train_classifier(train, RECIPE, tmp_path / "x", minutes=float("nan"))


def test_a_curve_has_every_step_once(
    train: LatentDataset, held: LatentDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(HeadTrainer, "_step", lambda own, parts: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                train_classifier(train, RECIPE, tmp_path, validation=held)
    assert train_classifier(train, replace(RECIPE, epochs=1), tmp_path, validation=held)
    with (tmp_path / "curve.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(set(steps))


def test_heads_that_give_no_numbers_are_not_judged(train: LatentDataset, tmp_path: Path) -> None:
    assert train_classifier(train, replace(RECIPE, epochs=1), tmp_path)
    head, facts = load_head(tmp_path)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter *= 1e20
    with pytest.raises(ValueError, match="gives no numbers"):
        evaluate(head, train, labels_as(train, facts.classes))
