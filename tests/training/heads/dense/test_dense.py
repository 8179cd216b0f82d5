# SPDX-License-Identifier: Apache-2.0
"""Dense heads: they learn masks and values, go on to the same curve, and are judged beside what a cell tells alone."""

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from isthmus.datasets import LatentDataset
from isthmus.models.heads import LatentInput, build_head
from isthmus.training.heads import load_head
from isthmus.training.heads.dense import DENSE, Pictures, judge, kind_of, train_dense
from isthmus.training.heads.dense.prediction import predicted_names, write_prediction
from isthmus.training.heads.prediction import Predictor
from isthmus.training.heads.trainer import HeadTrainer
from tests.training.heads.dense.conftest import encoded

RECIPE = replace(DENSE, head="dense-tiny", epochs=4, batch=16, rate=6e-3, warmup=3, average=0.8, accumulate=2, crop=4)


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "curve.csv").read_text().splitlines()))


def test_masks_are_learned_and_predicted(scene_folder: Path, held_folder: Path, tmp_path: Path) -> None:
    held = LatentDataset(held_folder / "latents")
    path = train_dense(
        LatentDataset(scene_folder / "latents"), scene_folder / "masks", replace(RECIPE, epochs=40), tmp_path,
        validation=held, validation_targets=held_folder / "masks",
    )  # fmt: skip
    assert path is not None
    head, facts = load_head(tmp_path)
    told = facts.results["validation"]
    assert facts.task == "dense" and facts.classes == ["0", "1", "7"]
    assert told["iou"] > 0.7 > 0.4 > told["floor_iou"] and told["accuracy"] > told["floor_accuracy"] + 0.1
    kind = kind_of(facts)
    found = judge(head, kind.paired(held, Pictures(held, held_folder / "masks"), 8), kind.meter())
    assert found.describe() == told and "the most frequent class alone" in found.tell()
    masks = np.stack([np.asarray(Image.open(path)) for path in (held_folder / "masks").rglob("*.png")])
    assert told["floor_accuracy"] == pytest.approx((masks == 0).sum() / (masks != 255).sum())
    first = rows_of(tmp_path)[0]
    assert float(first["validation_iou"]) == pytest.approx(told["floor_iou"], rel=1e-4)  # a new head is its floor

    source = held_folder / "images" / "0" / "0.png"
    [name] = predicted_names([source], tmp_path / "made")
    assert write_prediction(Predictor(head, facts), source, name) == (48, 48)
    made = Image.open(name)
    truth = np.asarray(Image.open(held_folder / "masks" / "0" / "0.png"))
    assert made.mode == "P" and made.getpalette("RGB")[21:24] == [30, 30, 220]  # type: ignore[index]
    assert (np.asarray(made) == truth)[truth != 255].mean() > 0.9 and set(np.unique(made)) <= {0, 1, 7}


def test_colours_of_grey_latents(scene_folder: Path, tmp_path: Path) -> None:
    grey = encoded(scene_folder, "grey", "latents-grey")
    run = tmp_path / "run"
    path = train_dense(
        grey, scene_folder / "images", replace(RECIPE, epochs=30, precision="bfloat16"), run, validation=grey,
        validation_targets=scene_folder / "images",
    )  # fmt: skip
    assert path is not None
    head, facts = load_head(run)
    told = facts.results["validation"]
    assert told["psnr"] > told["floor_psnr"] + 0.5 and told["mae"] < told["floor_mae"] and facts.outputs == 3
    first = rows_of(run)[0]
    assert float(first["validation_psnr"]) == pytest.approx(told["floor_psnr"], rel=1e-4)

    x, colours = [], []  # the floor once more, by least squares over all cells
    for sample in grey:
        y: Any = grey.dequantize(sample["y"], normalize=False)
        x.append(F.unfold(((y - grey.mean["y"]) / grey.std["y"])[None], 3, padding=1)[0].T)
        pixels = np.asarray(Image.open(scene_folder / "images" / sample["key"])).astype(float)
        colours.append(pixels.reshape(6, 8, 6, 8, 3).transpose(0, 2, 1, 3, 4).reshape(36, -1))
    a = torch.cat(x).double().numpy()
    a, b = np.concatenate([a, np.ones((len(a), 1))], 1), np.concatenate(colours)
    said = np.clip(np.round(a @ np.linalg.lstsq(a, b, rcond=None)[0]), 0, 255)
    assert told["floor_psnr"] == pytest.approx(10 * math.log10(255**2 / np.square(said - b).mean()), abs=1e-3)

    name = tmp_path / "0.png"
    write_prediction(Predictor(head, facts), scene_folder / "grey" / "0" / "0.png", name)
    truth = np.asarray(Image.open(scene_folder / "images" / "0" / "0.png")).astype(float)
    made = np.asarray(Image.open(name)).astype(float)
    assert made.shape == (48, 48, 3) and 10 * math.log10(255**2 / np.square(made - truth).mean()) > told["psnr"] - 5


def test_a_training_that_was_killed_goes_on_to_the_same_curve(
    scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, masks = LatentDataset(scene_folder / "latents"), scene_folder / "masks"

    def train(name: str, save_minutes: float = 3) -> Path | None:
        return train_dense(
            data, masks, RECIPE, tmp_path / name, validation=data, validation_targets=masks, save_minutes=save_minutes
        )  # fmt: skip

    whole, step = train("whole"), HeadTrainer._step

    def killed(own: HeadTrainer, parts: list[dict[str, Any]]) -> Callable[[], str]:
        if own.state.step == 5:
            raise KeyboardInterrupt
        return step(own, parts)

    with monkeypatch.context() as patch:
        patch.setattr(HeadTrainer, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train("parts", -1)
    parts = train("parts")
    assert whole is not None and parts is not None
    one, other = load_file(whole), load_file(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)
    curves = rows_of(tmp_path / "whole"), rows_of(tmp_path / "parts")
    assert len(curves[0]) > 3
    for row, again in zip(*curves, strict=True):
        assert {**row, "samples_per_second": ""} == {**again, "samples_per_second": ""}
    with pytest.raises(ValueError, match=r"other settings \(crop, validation\)"):
        train_dense(data, masks, replace(RECIPE, crop=0), tmp_path / "whole")
    with pytest.raises(ValueError, match=r"other settings \(.*digest"):
        train_dense(data, scene_folder / "images", RECIPE, tmp_path / "whole")


def test_a_loss_that_is_no_number_ends_it(scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = HeadTrainer._step

    def poisoned(own: HeadTrainer, parts: list[dict[str, Any]]) -> Callable[[], str]:
        if own.state.step == 2:
            nn.init.constant_(own.head.output.weight, float("nan"))
        return step(own, parts)

    monkeypatch.setattr(HeadTrainer, "_step", poisoned)
    with pytest.raises(ValueError, match="step 2: the loss is nan"):
        train_dense(LatentDataset(scene_folder / "latents"), scene_folder / "masks", RECIPE, tmp_path)


def test_cells_are_those_of_the_codec() -> None:
    about = LatentInput(5, 2, (0.0,) * 5, (1.0,) * 5, cell=4)
    head = build_head("dense-tiny", about, 2)
    y = torch.randn(1, 5, 6, 9)
    assert head(y).shape == head.floor(y).shape == (1, 2, 24, 36)
