# SPDX-License-Identifier: Apache-2.0
"""Tables beside networks: what unpacks, packs, encodes and previews opens the small file alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import isthmus
from isthmus.codecs import registry
from isthmus.codecs.registry import PRETRAINED, pretrained
from isthmus.codecs.trained_file import TrainedFile, write_tables
from isthmus.codecs.walloc.audio.weights import NETWORK as NETWORK_OF_SOUND
from isthmus.codecs.walloc.audio.weights import AudioWeights
from isthmus.codecs.walloc.weights import NETWORK, WallocWeights
from isthmus.errors import CorruptStreamError, UnreadableFileError

NAMES = ("walloc-image-f8c12", "walloc-image-f8c48")


@pytest.fixture
def shipped_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of what ships, to be damaged."""
    for path in PRETRAINED.glob("*"):
        if path.suffix in (".json", ".safetensors"):
            shutil.copyfile(path, tmp_path / path.name)
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path)
    monkeypatch.setattr(registry, "_loaded", {})
    pretrained.cache_clear()
    yield tmp_path
    pretrained.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_without_the_network_all_but_its_pixels(shipped_copy: Path, astronaut: np.ndarray, name: str) -> None:
    image = astronaut[60:135, 180:281]
    before: Any = isthmus.load(name)
    data = {entropy: before.encode(image, entropy=entropy) for entropy in ("context", "factorized")}
    network = shipped_copy / f"{before.weights.file.path.name}"
    network.unlink()
    registry._loaded.clear()
    codec: Any = isthmus.load(name)
    assert codec is not before
    for entropy, stream in data.items():
        latent = isthmus.unpack(stream)
        assert codec.pack(latent) == stream == codec.encode(image, entropy=entropy)
        assert torch.equal(latent.dequantize()["y"], before.unpack(stream).dequantize()["y"])
        preview = isthmus.decode(stream, synthesis="linear")
        assert torch.equal(preview, before.decode(stream, synthesis="linear"))
        with pytest.raises(UnreadableFileError, match=network.name):
            isthmus.decode(stream)


def test_the_files_hold_what_they_should() -> None:
    for entry in pretrained():
        if entry.file is None:
            continue
        whole, tables = PRETRAINED / entry.file, (PRETRAINED / entry.file).with_suffix(".tables.safetensors")
        assert tables.stat().st_size < 0.15 * whole.stat().st_size
        all_of_it, part = load_file(whole), load_file(tables)
        reader: Any = WallocWeights if entry.kind == "image" else AudioWeights
        networks = NETWORK if entry.kind == "image" else NETWORK_OF_SOUND
        assert set(part) == {name for name in all_of_it if not name.startswith(networks)}
        assert all(torch.equal(part[name], all_of_it[name]) for name in part)
        with safe_open(whole, "pt") as a, safe_open(tables, "pt") as b:
            assert a.metadata() == b.metadata()
        weights = reader.read(TrainedFile(whole))  # hashes its networks itself
        assert weights.weights_hash == entry.weights_hash == isthmus.load(entry.label).weights_hash  # type: ignore[attr-defined]


def test_a_network_that_is_not_the_promised_one(shipped_copy: Path, astronaut: np.ndarray) -> None:
    path = shipped_copy / "walloc-image-f8c12.r3.safetensors"
    tensors = load_file(path)
    tensors["model.network.output.bias"][0] += 1e-3
    with safe_open(path, "pt") as file:
        save_file(tensors, path, file.metadata())
    data = isthmus.encode(astronaut[:40, :40], codec="walloc-image-f8c12")
    assert isthmus.unpack(data).planes
    with pytest.raises(CorruptStreamError, match="expected 52a02fe2"):
        isthmus.decode(data)


def test_damaged_tables(shipped_copy: Path) -> None:
    path = shipped_copy / "walloc-image-f8c12.r3.tables.safetensors"
    content = path.read_bytes()
    for damaged in (b"", content[:1000], b"text" * 20):
        path.write_bytes(damaged)
        with pytest.raises(CorruptStreamError, match=path.name):
            isthmus.load("walloc-image-f8c12")
    path.unlink()  # then the whole file serves
    assert isthmus.load("walloc-image-f8c12").codec_id == "walloc.2"


def test_writing_tables(tiny_weights: Path, tmp_path: Path, astronaut: np.ndarray) -> None:
    write_tables(tiny_weights, tmp_path / "tiny.tables.safetensors", NETWORK)
    whole = TrainedFile(tiny_weights)
    both = TrainedFile(tiny_weights, None, tmp_path / "tiny.tables.safetensors")
    assert (both.family, both.config) == (whole.family, whole.config) and whole.family == "walloc"
    assert WallocWeights.read(both).weights_hash == WallocWeights.read(whole).weights_hash
