# SPDX-License-Identifier: Apache-2.0
"""The command `isthmus`: round trips, and for bad input one clear line, status 2 and nothing left behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import isthmus
from isthmus.cli import main
from isthmus.codecs.registry import default_codec
from isthmus.media.image import read_image, write_image
from isthmus.samples import ASTRONAUT

Run = Callable[..., tuple[int, str, str]]
COMMANDS = ("encode", "decode", "inspect", "codecs", "compare", "train", "bench")


@pytest.fixture
def photo(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A PNG of 61x47 pixels."""
    write_image(tmp_path / "photo.png", astronaut[80:127, 190:251])
    return tmp_path / "photo.png"


def test_encode_inspect_decode(run: Run, photo: Path, tmp_path: Path) -> None:
    stream, image = tmp_path / "photo.ist", tmp_path / "back.png"
    status, out, err = run("encode", photo, stream, "--quality", 70)
    assert (status, err) == (0, "") and "61x47" in out and str(stream.stat().st_size) in out
    assert stream.read_bytes() == isthmus.encode(photo, quality=70)

    status, out, err = run("inspect", stream)
    told = json.loads(out)
    assert (status, err) == (0, "") and told["bytes"] == stream.stat().st_size
    assert told["quality"] == 70 and told["codec"].startswith("walloc-image-f8c48") and told["signal"]["width"] == 61

    status, out, err = run("decode", stream, image)
    assert (status, err) == (0, "") and "61x47" in out
    assert np.array_equal(read_image(image), isthmus.decode(stream.read_bytes(), output="numpy"))

    assert run("decode", stream, image, "--synthesis", "linear")[0] == 0
    assert np.array_equal(read_image(image), isthmus.decode(stream.read_bytes(), output="numpy", synthesis="linear"))
    for suffix in ("jpg", "webp", "tif"):
        assert run("decode", stream, tmp_path / f"back.{suffix}")[0] == 0
        assert read_image(tmp_path / f"back.{suffix}").shape == (47, 61, 3)


def test_other_codecs(run: Run, photo: Path, tmp_path: Path, tiny_weights: Path) -> None:
    stream = tmp_path / "photo.ist"
    assert run("encode", photo, stream, "-c", "walloc-image-f8c12", "-q", 20)[0] == 0
    assert stream.read_bytes() == isthmus.encode(photo, codec="walloc-image-f8c12", quality=20)
    assert run("encode", photo, stream, "--codec", tiny_weights)[0] == 0
    for command in (
        ["encode", photo, tmp_path / "small.ist"],
        ["decode", stream, tmp_path / "x.png", "-c", tiny_weights],
    ):
        status, _, err = run(*command, "--max-pixels", 7)
        assert status == 2 and "at most 7 are" in err and "--max-pixels" in err
    status, out, err = run("decode", stream, tmp_path / "back.png")
    assert status == 2 and "do not ship" in err and not (tmp_path / "back.png").exists()
    assert run("decode", stream, tmp_path / "back.png", "--codec", tiny_weights)[0] == 0
    assert read_image(tmp_path / "back.png").shape == (47, 61, 3)


def test_any_order_and_any_file_beside(run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The codec decides the flags, and the source decides the codec: not whatever else stands on the line."""
    monkeypatch.chdir(photo.parent)
    save_file({"w": torch.ones(40, dtype=torch.bfloat16)}, "m.safetensors")
    for name in ("30", "cpu", "huffman", "-odd.safetensors"):
        Path(name).write_bytes(Path("m.safetensors").read_bytes())
    Path("-cat.png").write_bytes(photo.read_bytes())
    expected = isthmus.encode(photo, quality=30)
    for arguments in (
        ["--quality", "30", photo, "a.ist"],
        ["-q30", photo, "a.ist", "--device", "cpu"],
        ["--device", "cpu", photo, "--quality=30", "a.ist"],
        ["-q", "30", "--", "-cat.png", "a.ist"],
        ["--codec", "dfloat", "--codec", "walloc-image-f8c48", photo, "a.ist", "-q", "30"],
    ):
        status, out, err = run("encode", *arguments)
        assert (status, err) == (0, ""), arguments
        assert Path("a.ist").read_bytes() == expected
    assert run("encode", "--mode", "huffman", "--", "-odd.safetensors", "m.ist")[0] == 0
    assert run("decode", "m.ist", "back.safetensors")[0] == 0
    assert torch.equal(load_file("back.safetensors")["w"], torch.ones(40, dtype=torch.bfloat16))
    status, out, err = run("encode", "absent.safetensors", "a.ist", "--mode", "rans")
    assert status == 2 and "no such file" in err
    status, out, err = run("codecs", "--kind", "smells")
    assert status == 2 and "image, tensors" in err


def test_background(run: Run, tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), (255, 0, 0, 128)).save(tmp_path / "clear.png")
    status, out, err = run("encode", tmp_path / "clear.png", tmp_path / "clear.ist")
    assert status == 2 and "--background" in err and not (tmp_path / "clear.ist").exists()
    assert run("encode", tmp_path / "clear.png", tmp_path / "clear.ist", "--background", "white")[0] == 0


def test_codecs_lists_whatships(run: Run) -> None:
    status, out, err = run("codecs")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == isthmus.list_codecs()


def test_compare(run: Run, photo: Path, tmp_path: Path) -> None:
    status, out, err = run("compare", photo, "--out", tmp_path / "sheet.png", "--quality", 40)
    assert (status, err) == (0, "")
    assert "dB" in out or "PSNR" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 3 * 61


def test_help_lists_all_commands(run: Run) -> None:
    status, out, err = run("--help")
    assert (status, err) == (0, "") and all(f" {name} " in out for name in (*COMMANDS, "--debug"))
    for name in COMMANDS:
        status, out, err = run(name, "--help")
        assert (status, err) == (0, "") and "isthmus" in out and len(out) > 100
    for arguments in ((), ("train",), ("bench",)):
        status, out, err = run(*arguments)
        assert status == 2 and "Usage" in out + err


def bad_inputs(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Arguments that must be refused, and what the line must say."""
    good = folder / "good.ist"
    good.write_bytes(isthmus.encode(np.zeros((9, 9, 3), np.uint8)))
    png = folder / "good.png"
    write_image(png, np.zeros((9, 9, 3), np.uint8))
    files = {
        "text.png": b"hello, this is not an image\n" * 5,
        "short.png": b"hi\n",
        "empty.png": b"",
        "cut.png": png.read_bytes()[:45],
        "empty.ist": b"",
        "cut.ist": good.read_bytes()[:-7],
        "flipped.ist": good.read_bytes()[:-9] + bytes([good.read_bytes()[-9] ^ 4]) + good.read_bytes()[-8:],
        "text.ist": b"hello, this is not a stream\n" * 5,
        "other.ist": png.read_bytes(),
        "long.ist": good.read_bytes() + b"more",
        "bad.safetensors": b"hello" * 9,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    out, image = folder / "out.ist", folder / "out.png"
    return {
        "text named .png": (["encode", folder / "text.png", out], "not an image"),
        "three bytes named .png": (["encode", folder / "short.png", out], "not an image"),
        "empty image": (["encode", folder / "empty.png", out], "empty"),
        "truncated image": (["encode", folder / "cut.png", out], "truncated"),
        "absent image": (["encode", folder / "absent.png", out], "no such file"),
        "folder as image": (["encode", folder, out], "folder"),
        "output folder absent": (["encode", png, folder / "absent" / "out.ist"], "does not exist"),
        "output is a folder": (["encode", png, folder], "folder"),
        "unknown codec": (["encode", png, out, "--codec", "walloc-image-f9"], "walloc-image-f8c48"),
        "bad weights": (["encode", png, out, "--codec", folder / "bad.safetensors"], "safetensors"),
        "absent weights": (["encode", png, out, "--codec", folder / "absent.safetensors"], "no such"),
        "quality 0": (["encode", png, out, "--quality", "0"], "--quality"),
        "quality 101": (["encode", png, out, "--quality", "101"], "--quality"),
        "quality x": (["encode", png, out, "--quality", "x"], "--quality"),
        "unknown colour": (["encode", png, out, "--background", "blurple"], "blurple"),
        "unknown device": (["encode", png, out, "--device", "toaster"], "toaster"),
        "absent device": (["encode", png, out, "--device", "cuda:99"], "cuda:99"),
        "empty stream": (["decode", folder / "empty.ist", image], "empty"),
        "truncated stream": (["decode", folder / "cut.ist", image], "cut"),
        "flipped stream": (["decode", folder / "flipped.ist", image], "damaged"),
        "text as stream": (["decode", folder / "text.ist", image], "text"),
        "image as stream": (["decode", folder / "other.ist", image], "PNG"),
        "over-long stream": (["decode", folder / "long.ist", image], "byte"),
        "absent stream": (["decode", folder / "absent.ist", image], "No such file"),
        "folder as stream": (["decode", folder, image], "directory"),
        "unknown suffix": (["decode", good, folder / "out.xyz"], ".xyz"),
        "no suffix": (["decode", good, folder / "out"], "suffix"),
        "decode: folder absent": (["decode", good, folder / "absent" / "out.png"], "does not exist"),
        "unknown synthesis": (["decode", good, image, "--synthesis", "deep"], "deep"),
        "inspect text": (["inspect", folder / "text.ist"], "text"),
        "inspect empty": (["inspect", folder / "empty.ist"], "empty"),
        "compare suffix": (["compare", png, "--out", folder / "out.jpg"], ".png"),
        "compare text": (["compare", folder / "text.png", "--out", image], "not an image"),
        "train without images": (["train", "codec", folder / "absent", "--out", folder / "run"], "no such folder"),
        "train recipe": (["train", "codec", folder, "--name", "nothing", "--out", folder / "run"], "nothing"),
        "train a room": (["train", "codec", folder, "--name", "data", "--out", folder / "run"], "no recipe 'data'"),
        "train a module": (["train", "codec", folder, "--name", "walloc.trainer"], "no recipe"),
        "bench of a picture": (["bench", "audio", png, "--out", folder / "bench"], "PNG"),
        "train device": (["train", "codec", folder, "--device", "toaster", "--out", folder / "run"], "toaster"),
        "bench without folder": (["bench", "image", folder / "absent", "--out", folder / "bench"], "absent"),
        "unknown command": (["frobnicate"], "frobnicate"),
        "missing argument": (["encode", png], "target"),
        "surplus argument": (["encode", png, out, "more"], "more"),
        "unknown option": (["encode", png, out, "--speed", "3"], "--speed"),
    }


def test_bad_input_is_one_line(run: Run, tmp_path: Path) -> None:
    for what, (arguments, message) in bad_inputs(tmp_path).items():
        before = sorted(p.name for p in tmp_path.rglob("*"))
        status, out, err = run(*arguments)
        assert status == 2, (what, err)
        assert out == "", what
        assert err.startswith("isthmus: ") and err.endswith("\n") and err.count("\n") == 1, (what, err)
        assert message in err, (what, err)
        assert "Traceback" not in err and len(err) < 500
        assert sorted(p.name for p in tmp_path.rglob("*")) == before, what


def test_an_older_output_survives_a_failure(run: Run, tmp_path: Path) -> None:
    bad = bad_inputs(tmp_path)
    (tmp_path / "out.png").write_bytes(b"precious")
    for what in ("truncated stream", "flipped stream", "unknown synthesis"):
        assert run(*bad[what][0])[0] == 2
        assert (tmp_path / "out.png").read_bytes() == b"precious"


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    """In a process of its own, as users run it."""
    (tmp_path / "bad.ist").write_bytes(b"nothing")
    command = [sys.executable, "-m", "isthmus"]
    arguments = ["decode", str(tmp_path / "bad.ist"), str(tmp_path / "out.png")]
    done = subprocess.run([*command, *arguments, "--debug"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" in done.stderr and "CorruptStreamError" in done.stderr
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("isthmus: ") and done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.ist"]


def test_warnings_are_one_line_too(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 9), 30000, np.uint16)).save(tmp_path / "deep.png")
    command = [sys.executable, "-m", "isthmus", "encode", str(tmp_path / "deep.png"), str(tmp_path / "deep.ist")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (tmp_path / "deep.ist").exists()
    assert done.stderr.startswith("isthmus: warning: ") and done.stderr.count("\n") == 1


def test_errors_that_nobody_expects(run: Run, monkeypatch: pytest.MonkeyPatch, photo: Path, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise KeyError("inner\nworkings")

    monkeypatch.setattr(isthmus, "load", fail)
    status, out, err = run("encode", photo, tmp_path / "out.ist")
    assert status == 1 and err.count("\n") == 1 and "KeyError" in err and "--debug" in err
    with pytest.raises(KeyError):
        monkeypatch.setattr(sys, "argv", ["isthmus", "--debug", "encode", str(photo), str(tmp_path / "out.ist")])
        main.main()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(isthmus, "load", interrupt)
    assert run("encode", photo, tmp_path / "out.ist") == (130, "", "isthmus: stopped\n")
    assert not (tmp_path / "out.ist").exists()


def test_the_default_codec_is_the_packages() -> None:
    name = default_codec("image")
    assert isthmus.encode(ASTRONAUT, quality=1) == isthmus.load(name).encode(read_image(ASTRONAUT), quality=1)
