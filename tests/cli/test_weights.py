# SPDX-License-Identifier: Apache-2.0
"""`isthmus weights`: what it prints, its status, and one clear line for bad input."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from tests.weights.sample_files import mixed, write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def weights_run(run: Run) -> Run:
    """Runs `isthmus weights ...`."""
    return partial(run, "weights")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "model.safetensors", mixed())
    return tmp_path / "model.safetensors"


def test_there_and_back(weights_run: Run, source: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "model.df.safetensors", tmp_path / "back.safetensors"
    status, out, err = weights_run("compress", source, packed, "--mode", "rans", "--threads", 2)
    assert (status, err) == (0, "") and f"{source.stat().st_size} to {packed.stat().st_size} bytes" in out
    assert "kept as they are: BOOL (1), F64 (1), I64 (1)" in out
    assert "was there already" in weights_run("compress", source, packed, "--mode", "rans")[1]
    assert weights_run("verify", packed)[1].startswith(f"{packed}: whole")
    assert weights_run("decompress", packed, back)[0] == 0
    assert back.read_bytes() == source.read_bytes()


def test_deltas(weights_run: Run, source: Path, tmp_path: Path) -> None:
    delta = tmp_path / "delta.safetensors"
    assert weights_run("compress", source, delta, "--base", source)[0] == 0
    status, _, err = weights_run("verify", delta)
    assert status == 2 and "--base" in err and err.count("\n") == 1
    assert weights_run("verify", delta, "--base", source)[0] == 0


def test_inspect(weights_run: Run, source: Path, tmp_path: Path) -> None:
    status, out, _ = weights_run("inspect", source)
    assert status == 0 and "layer.weight [300, 256]" in out and out.splitlines()[-1].startswith("11 tensors")
    picture = tmp_path / "bits.png"
    told = json.loads(weights_run("inspect", source, "--json")[1])
    assert told["total"]["tensors"] == 11 and told["tensors"][1]["name"] == "layer.weight"
    assert weights_run("inspect", source, "--plot", picture)[0] == 0
    with Image.open(picture) as image:
        assert image.format == "PNG" and image.width > 500
    status, _, err = weights_run("inspect", source, "--plot", tmp_path / "bits.jpg")
    assert status == 2 and ".png" in err
    status, out, err = weights_run("inspect", source, "--plot", tmp_path / "absent" / "bits.png")
    assert (status, out) == (2, "") and "absent does not exist" in err


def test_bad_input(weights_run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(source.read_bytes()[:-1])
    for arguments in (
        ("compress", tmp_path / "absent.safetensors", tmp_path / "x"),
        ("compress", tmp_path / "broken.safetensors", tmp_path / "x"),
        ("compress", source, tmp_path / "x", "--mode", "zip"),
        ("decompress", source, tmp_path / "x"),
        ("verify", source),
        ("inspect", tmp_path / "broken.safetensors"),
    ):
        status, out, err = weights_run(*arguments)
        assert (status, out) == (2, "") and err.startswith("isthmus: ") and err.count("\n") == 1, arguments
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", ["compress", "decompress", "verify", "inspect"])
def test_help_shows_an_example(weights_run: Run, command: str) -> None:
    status, out, _ = weights_run(command, "--help")
    assert status == 0 and f"isthmus weights {command} " in out
