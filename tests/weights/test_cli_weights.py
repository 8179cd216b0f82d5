# SPDX-License-Identifier: Apache-2.0
"""`isthmus weights`: what it prints, its status, and one clear line for bad input."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sample_files import mixed, write

from isthmus import cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process: status, standard output, standard error."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # main() sets its own

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isthmus", "weights", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "model.safetensors", mixed())
    return tmp_path / "model.safetensors"


def test_there_and_back(run: Run, source: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "model.df.safetensors", tmp_path / "back.safetensors"
    status, out, err = run("compress", source, packed, "--mode", "rans", "--threads", 2)
    assert (status, err) == (0, "") and f"{source.stat().st_size} to {packed.stat().st_size} bytes" in out
    assert "kept as they are: BOOL (1), F64 (1), I64 (1)" in out
    assert "was there already" in run("compress", source, packed, "--mode", "rans")[1]
    assert run("verify", packed)[1].startswith(f"{packed}: whole")
    assert run("decompress", packed, back)[0] == 0
    assert back.read_bytes() == source.read_bytes()


def test_deltas(run: Run, source: Path, tmp_path: Path) -> None:
    delta = tmp_path / "delta.safetensors"
    assert run("compress", source, delta, "--base", source)[0] == 0
    status, _, err = run("verify", delta)
    assert status == 2 and "--base" in err and err.count("\n") == 1
    assert run("verify", delta, "--base", source)[0] == 0


def test_inspect(run: Run, source: Path, tmp_path: Path) -> None:
    status, out, _ = run("inspect", source)
    assert status == 0 and "layer.weight [300, 256]" in out and out.splitlines()[-1].startswith("11 tensors")
    picture = tmp_path / "bits.png"
    told = json.loads(run("inspect", source, "--json")[1])
    assert told["total"]["tensors"] == 11 and told["tensors"][1]["name"] == "layer.weight"
    assert run("inspect", source, "--plot", picture)[0] == 0
    with Image.open(picture) as image:
        assert image.format == "PNG" and image.width > 500
    status, _, err = run("inspect", source, "--plot", tmp_path / "bits.jpg")
    assert status == 2 and ".png" in err


def test_bad_input(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(source.read_bytes()[:-1])
    for arguments in (
        ("compress", tmp_path / "absent.safetensors", tmp_path / "x"),
        ("compress", tmp_path / "broken.safetensors", tmp_path / "x"),
        ("compress", source, tmp_path / "x", "--mode", "zip"),
        ("decompress", source, tmp_path / "x"),
        ("verify", source),
        ("inspect", tmp_path / "broken.safetensors"),
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "") and err.startswith("isthmus: ") and err.count("\n") == 1, arguments
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", ["compress", "decompress", "verify", "inspect"])
def test_help_shows_an_example(run: Run, command: str) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0 and f"isthmus weights {command} " in out
