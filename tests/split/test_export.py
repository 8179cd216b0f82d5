# SPDX-License-Identifier: Apache-2.0
"""Heads for devices: the same symbols and the same bytes, without torch."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import isthmus
from isthmus.media.image import read_image
from isthmus.samples import ASTRONAUT
from isthmus.split.export import export_head
from isthmus.split.tail import Tail
from tests.codecs.bottlefit.cases import weights
from tests.split.conftest import run_folder, tail

__all__ = ["run_folder", "tail"]  # fixtures

DEVICE = Path(__file__).with_name("device.py")
CODECS = {"bottlefit": weights(), "walloc": "walloc-image-f8c12"}
SIZES = [(1, 1), (8, 8), (9, 30), (17, 64), (96, 81)]


@pytest.fixture(scope="module", params=list(CODECS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A codec, and the folder of its head as ONNX."""
    folder = tmp_path_factory.mktemp(request.param)
    codec: Any = isthmus.load(CODECS[request.param])
    assert export_head(codec, folder) == folder / "head.onnx"
    return codec, folder


def packer_of(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("packer", folder / "packer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Packer(folder)


def sent(codec: Any, picture: np.ndarray, quality: int) -> bytes:
    data: bytes = codec.encode(picture, quality=quality, entropy="factorized")
    return data


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_same_bytes(exported: tuple[Any, Path], size: tuple[int, int]) -> None:
    codec, folder = exported
    head, packer = onnxruntime.InferenceSession(folder / "head.onnx"), packer_of(folder)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for picture in (read_image(ASTRONAUT)[90 : 90 + size[0], 200 : 200 + size[1]], noise, np.zeros_like(noise)):
        for quality in (1, 50, 100):
            given = {"pixels": picture.transpose(2, 0, 1)[None], "quality": np.array(quality)}
            symbols = head.run(["symbols"], given)[0][0]
            assert packer.pack(symbols, *size, quality) == sent(codec, picture, quality)


def test_symbols_far_away_are_escapes(exported: tuple[Any, Path]) -> None:
    codec, folder = exported
    latent = codec.analyze(read_image(ASTRONAUT)[:40, :48], quality=70)
    planes = latent.planes["y"].numpy().copy()
    top = 127 if codec.bounds else 30_000
    planes[0, 0, 0], planes[-1, -1, -1] = top, -top
    data = packer_of(folder).pack(planes, 40, 48, 70)
    assert np.array_equal(codec.unpack(data).planes["y"].numpy(), planes)
    with pytest.raises(ValueError, match=r"symbols int16 \(.*\), quality 70; expected integers"):
        packer_of(folder).pack(planes[:, :-1], 40, 48, 70)
    with pytest.raises(ValueError, match="quality 0; expected integers"):
        packer_of(folder).pack(planes, 40, 48, 0)


def test_a_program_of_torch(tmp_path: Path) -> None:
    codec: Any = isthmus.load(CODECS["bottlefit"])
    program = torch.export.load(export_head(codec, tmp_path / "device", "pt2")).module()
    for size in ((17, 100), (64, 64)):
        pixels = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
        for quality in (1, 80):
            wanted = codec.analyze(pixels, quality=quality).planes["y"]
            assert torch.equal(program(pixels, torch.tensor(quality)), wanted)


def test_a_device_without_torch(exported: tuple[Any, Path], tail: Tail, tmp_path: Path) -> None:
    """ISTHMUS_DEVICE: a Python that has onnxruntime and numpy alone, as CI gives."""
    codec, folder = exported
    picture = np.ascontiguousarray(read_image(ASTRONAUT)[:60, :60])
    np.save(tmp_path / "pixels.npy", picture)
    python = os.environ.get("ISTHMUS_DEVICE", sys.executable)
    command = [python, "-I", DEVICE, folder, tmp_path / "pixels.npy", "40", tmp_path / "sent.ist"]
    subprocess.run(command, check=True)
    data = (tmp_path / "sent.ist").read_bytes()
    assert data == sent(codec, picture, 40)
    if codec.name == CODECS["walloc"]:
        latents, errors = tail.unpack([data])
        assert not errors and tail.logits(torch.stack(latents)).shape == (1, 3)


def test_what_is_not_exported(tmp_path: Path, run: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="'tflite', expected one of onnx, pt2"):
        export_head(isthmus.load(CODECS["walloc"]), tmp_path, "tflite")
    with pytest.raises(ValueError, match="heads are exported of bottlefit and of walloc-image-f8"):
        export_head(isthmus.load("walloc-audio-f256c27"), tmp_path)
    status, out, err = run("split", "export", CODECS["bottlefit"], "--to", "pt2", "--out", tmp_path / "made")
    assert status == 0 and "head.pt2: with head.json, packer.py, tables.npz" in out, err
    assert run("split", "export", "no-such-codec")[0] != 0
