# SPDX-License-Identifier: Apache-2.0
"""`isthmus train dense`, and what `evaluate` and `predict` make of its heads."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isthmus.models.heads import HEADS
from isthmus.models.heads.convnext import ConvNextConfig
from isthmus.models.heads.dense import DenseConfig, DenseHead
from tests.training.heads.dense.conftest import encoded, scenes

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    before = HEADS["dense-s"]
    HEADS["dense-s"] = DenseHead, DenseConfig(ConvNextConfig((8, 16), (1, 1), 3, drop=0.0), width=8)
    yield
    HEADS["dense-s"] = before


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = scenes(tmp_path_factory.mktemp("data"), 6, 1)
    encoded(folder)
    return folder


def test_masks_there_and_back(run: Run, data: Path, tmp_path: Path) -> None:
    latents, masks = data / "latents", data / "masks"
    command = (
        "train", "dense", latents, "--targets", masks, "--validation", latents, "--validation-targets", masks, "--out",
        tmp_path / "run", "--workers", "0", "--epochs", "2", "--batch", "6", "--device", "cpu",
    )  # fmt: skip
    status, out, err = run(*command)
    assert status == 0 and "validation_floor_iou" in out and "isthmus predict" in out
    assert "targets are classes: 3 classes, 0 to 7" in err and "is P; else --targets-are values" in err
    status, out, _ = run("evaluate", tmp_path / "run", latents, "--targets", masks)
    assert status == 0 and "mean IoU" in out and "the most frequent class alone" in out
    status, out, _ = run("evaluate", tmp_path / "run", latents, "--targets", masks, "--json")
    assert status == 0 and json.loads(out)["samples"] == 6
    photo = next((data / "images").rglob("*.png"))
    status, out, _ = run("predict", tmp_path / "run", photo, "--out", tmp_path / "made")
    assert status == 0 and "48x48" in out
    assert set(np.unique(Image.open(tmp_path / "made" / photo.name))) <= {0, 1, 7}
    for wrong, message in (
        (("evaluate", tmp_path / "run", latents), "a head of dense needs --targets FOLDER"),
        (("predict", tmp_path / "run", photo), "a head of dense needs --out FOLDER"),
        (("predict", tmp_path / "run", photo, photo, "--out", tmp_path), "would both be"),
        (("predict", tmp_path / "run", photo, "--out", photo.parent), "would be lost"),
        ((*command, "--set", "mixing=both", "--out", tmp_path / "x"), "pictures are not mixed"),
        (("train", "dense", latents, "--targets", tmp_path), "6 of 6 samples"),
    ):
        status, _, err = run(*wrong)
        assert status == 2 and message in err and len(err.splitlines()) == 1, err


def test_values_of_streams_and_of_odd_sizes(run: Run, data: Path, tmp_path: Path) -> None:
    latents = data / "latents"
    command = ("train", "dense", latents, "--targets", data / "grey", "--targets-are", "values", "--out",
               tmp_path / "run", "--workers", "0", "--epochs", "1", "--batch", "6", "--device", "cpu")  # fmt: skip
    assert run(*command)[0] == 0
    status, out, _ = run("evaluate", tmp_path / "run", latents, "--targets", data / "grey")
    assert status == 0 and "PSNR" in out and "the best linear map" in out
    status, _, err = run("evaluate", tmp_path / "run", latents, "--targets", data / "images")
    assert status == 2 and "is RGB, the head's targets were L, values: targets of one kind" in err
    photo = tmp_path / "odd.png"
    Image.open(next((data / "images").rglob("*.png"))).crop((0, 0, 45, 31)).save(photo)
    assert run("encode", photo, tmp_path / "stream.ist", "--codec", "walloc-image-f8c12")[0] == 0
    status, out, _ = run("predict", tmp_path / "run", photo, tmp_path / "stream.ist", "--out", tmp_path / "m", "--json")
    assert status == 0 and [json.loads(line)["width"] for line in out.splitlines()] == [45, 45]
    assert np.asarray(Image.open(tmp_path / "m" / "odd.png")).shape == (31, 45)


def test_a_head_of_values_is_not_judged_by_masks(run: Run, data: Path, tmp_path: Path) -> None:
    latents = data / "latents"
    command = ("train", "dense", latents, "--targets", data / "images", "--out", tmp_path / "run", "--workers", "0",
               "--epochs", "1", "--batch", "6", "--device", "cpu")  # fmt: skip
    assert run(*command)[0] == 0
    for targets, mode in (("masks", "P"), ("grey", "L")):
        status, _, err = run("evaluate", tmp_path / "run", latents, "--targets", data / targets)
        assert status == 2 and f"is {mode}, the head's targets were RGB, values" in err and len(err.splitlines()) == 1
