# SPDX-License-Identifier: Apache-2.0
"""`isthmus train classify`, `evaluate` and `predict`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.datasets import LatentDataset, transcode
from tests.training.heads.conftest import CODEC, latents

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LatentDataset:
    return latents(tmp_path_factory.mktemp("data"), 6, 1)


def test_there_and_back(run: Run, data: LatentDataset, tmp_path: Path) -> None:
    command = ("train", "classify", data.path, "--validation", data.path, "--out", tmp_path / "run", "--workers", "0",
               "--epochs", "2", "--batch", "6", "--device", "cpu", "--cache", tmp_path / "cache")  # fmt: skip
    status, out, _ = run(*command)
    assert status == 0 and "step 4: loss" in out and "head.safetensors" in out
    assert run(*command)[0] == 0  # complete: nothing is trained again
    status, _, err = run(*command, "--set", "rate=1")
    assert status == 2 and "other settings (rate)" in err
    status, out, _ = run("evaluate", tmp_path / "run", data.path)
    assert status == 0 and "of 12 samples right (95 % interval" in out and "among" not in out
    status, out, _ = run("evaluate", tmp_path / "run", data.path, "--json")
    assert status == 0 and json.loads(out)["samples"] == 12
    photo = next(Path(data.path).parent.glob("photos/rough/*.png"))
    status, out, _ = run("predict", tmp_path / "run", photo, "--json")
    told = json.loads(out)
    assert status == 0 and told["flat"] + told["rough"] == pytest.approx(1)
    assert run("evaluate", tmp_path / "run", data.path)[2] == ""
    transcode(photo.parents[1], tmp_path / "small", codec=CODEC, workers=0, progress=False, quality=50, crop=48)
    status, _, err = run("evaluate", tmp_path / "run", tmp_path / "small")
    assert status == 0 and "crop 48, there None; quality 50, there 60" in err and len(err.splitlines()) == 1
    status, _, err = run("predict", tmp_path / "run", photo.parent)
    assert status == 2 and "is a folder; name the files in it" in err and len(err.splitlines()) == 1
    for command in ("evaluate", "predict"):
        assert "adapter" in run(command, "--help")[1]


def test_files_that_cannot_be_read_are_passed_over(run: Run, data: LatentDataset, tmp_path: Path) -> None:
    command = ("train", "classify", data.path, "--epochs", "1", "--workers", "0", "--device", "cpu")
    assert run(*command, "--out", tmp_path / "run")[0] == 0
    photo = next(iter((Path(data.path).parent / "photos").rglob("*.png")))
    (tmp_path / "Thumbs.db").write_bytes(b"")
    status, out, err = run("predict", tmp_path / "run", tmp_path / "Thumbs.db", photo, tmp_path / "none.jpg")
    assert status == 3 and out.count("%") >= 1 and str(photo) in out
    assert "Thumbs.db" in err and "none.jpg" in err and "2 of 3 files could not be read" in err
    assert run("predict", tmp_path / "run", tmp_path / "none.jpg")[0] == 2


def test_what_is_refused(run: Run, data: LatentDataset, tmp_path: Path) -> None:
    for wrong, message in (
        (("train", "classify", tmp_path), "no data set of latents"),
        (("train", "classify", data.path, "--head", "resnet", "--out", tmp_path / "x"), "expected one of convnext-s"),
        (("train", "classify", data.path, "--set", "rates=1"), "rates"),
        (("evaluate", tmp_path, data.path), "no trained head"),
        (("predict", tmp_path, tmp_path / "x.png"), "no trained head"),
    ):
        status, _, err = run(*wrong)
        assert status == 2 and message in err and len(err.splitlines()) == 1
