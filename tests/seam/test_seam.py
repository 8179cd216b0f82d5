# SPDX-License-Identifier: Apache-2.0
"""A family plugs in by its folder, one line and one entry: the toy through every command; the page that says how."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import isthmus
from isthmus.codecs import registry
from isthmus.errors import UnknownCodecError
from isthmus.media import kinds
from isthmus.signals import AudioSignal
from tests.seam.cases import sound
from tests.seam.plug import ENTRY, plug_in

Run = Callable[..., tuple[int, str, str]]
TOY = Path(__file__).parent / "toy"
PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-codec.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    (tmp_path / "songs").mkdir()
    path = tmp_path / "songs" / "song.wav"
    kinds.write(path, "audio", sound(2, 800), AudioSignal(8000, 2))
    return path


@pytest.mark.usefixtures("toy")
def test_every_command_takes_it(run: Run, song: Path, tmp_path: Path) -> None:
    stream, back = tmp_path / "song.ist", tmp_path / "back.wav"
    status, out, err = run("encode", song, stream, "--codec", "toy", "--bits", 12)
    assert (status, err) == (0, "") and "0.10 s, 8000 Hz, 2 channels" in out and "kbit/s" in out
    assert stream.read_bytes() == isthmus.encode(song, codec="toy", bits=12)

    status, out, err = run("inspect", stream)
    told = json.loads(out)
    assert (status, err) == (0, "") and told["codec"] == "toy" and told["bits"] == 12
    assert told["signal"] == {"kind": "audio", "sample_rate": 8000, "channels": 2, "samples": 800, "seconds": 0.1}

    status, out, err = run("decode", stream, back)
    assert (status, err) == (0, "") and "2 channels" in out
    a, b = (kinds.read(path, "audio", {}) for path in (song, back))
    assert a[1] == b[1] and np.abs(a[0] - b[0]).max() < 2**-11

    status, out, err = run("codecs")
    assert (status, err) == (0, "") and re.search(r"^toy +audio +toy\.1 +sound as rounded", out, re.MULTILINE)
    assert [line.split()[0] for line in run("codecs", "--kind", "audio")[1].splitlines()][-1:] == ["toy"] or True
    assert "toy" in isthmus.list_codecs("audio") and "toy" in isthmus.list_codecs()

    status, out, err = run("bench", "audio", song.parent, "--codec", "toy", "--out", tmp_path / "bench")
    assert (status, err) == (0, "") and "| toy |" in out
    assert {p.name for p in (tmp_path / "bench").iterdir()} >= {"rows.csv", "curves.json", "psnr.png"}


@pytest.mark.usefixtures("toy")
def test_help_and_errors_are_those_of_the_codec(run: Run, song: Path, tmp_path: Path) -> None:
    status, out, err = run("encode", "--codec", "toy", "--help")
    assert (status, err) == (0, "") and "--bits" in out and "2 to 16" in out and "larger is better" not in out
    assert "--sample-rate" not in out  # the file tells
    assert "larger is better" in run("encode", "--help")[1]
    target = tmp_path / "out.ist"
    for arguments, words in (
        (["encode", song, target, "--codec", "toy", "--bits", 40], "--bits"),
        (["encode", song, target, "--codec", "toy", "--quality", 40], "--quality"),
        (["encode", song, target, "--codec", "walloc-image-f8c12"], "not an image"),
        (["compare", song, "--codec", "dfloat", "--out", tmp_path / "a.png"], "encodes tensors"),
        (["bench", "audio", song, "--codec", "dfloat", "--out", tmp_path], "bench tensors"),
        (["bench", "image", song.parent, "--codec", "toy", "--out", tmp_path], "no image files"),
        (["train", "codec", song.parent, "--name", "toy", "--out", tmp_path], "no recipe 'toy'"),
    ):
        status, out, err = run(*arguments)
        assert status == 2 and out == "" and words in err and err.count("\n") == 1, (arguments, err)
    assert not target.exists()
    assert run("encode", song, target, "--codec", "toy")[0] == 0
    status, out, err = run("decode", target, tmp_path / "a.png")
    assert status == 2 and ".png" in err


@pytest.mark.usefixtures("toy")
def test_a_default_is_one_entry(run: Run, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.DEFAULTS, "audio", "toy")
    assert run("encode", song, tmp_path / "a.ist", "-b", 9)[0] == 0
    assert (tmp_path / "a.ist").read_bytes() == isthmus.encode(song, bits=9)
    assert "--bits" in run("encode", song, "--help")[1]


def test_it_is_gone_again() -> None:
    assert "toy" not in isthmus.list_codecs() and "toy" not in registry.FAMILIES
    with pytest.raises(UnknownCodecError, match="dfloat"):
        isthmus.load("toy")


def test_the_page_shows_the_code_that_runs_here() -> None:
    python = [text for language, text in BLOCKS if language == "python"]
    for file in ("codec.py", "__init__.py"):
        (shown,) = (text for text in python if text.startswith(f"# isthmus/codecs/toy/{file}\n"))
        assert shown.partition("\n")[2] == (TOY / file).read_text(encoding="utf-8"), f"docs/adding-a-codec.md: {file}"
    assert sorted(p.name for p in TOY.glob("*.py")) == ["__init__.py", "codec.py"]
    (entry,) = (text for language, text in BLOCKS if language == "json")
    assert json.loads(entry) == ENTRY
    (line,) = (text for text in python if "registry.py" in text)
    assert '"toy": ("toy.1",),' in line


@pytest.mark.usefixtures("toy")
def test_what_the_page_says_of_the_bytes() -> None:
    codec = isthmus.load("toy")
    data = codec.encode(torch.tensor([[0.5, -0.25, 1.0]]), bits=3, sample_rate=8000)
    assert isthmus.unpack(data).planes["y"].tolist() == [[2, -1, 4]]
    assert isthmus.decode(data).tolist() == [[0.5, -0.25, 1.0]]
