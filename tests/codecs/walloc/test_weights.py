# SPDX-License-Identifier: Apache-2.0
"""Weights files: what is written is what is read, and the hashes say so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import isthmus
from isthmus.codecs.trained_file import TrainedFile, hash_tensors
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.codecs.walloc.weights import save_weights
from isthmus.errors import UnreadableFileError


def test_round_trip(tiny: WallocImageCodec, tmp_path: Path, astronaut: np.ndarray) -> None:
    path = tmp_path / "again.safetensors"
    save_weights(path, tiny.model, tiny.weights.entropy, tiny.weights.context)
    again = isthmus.load(str(path))
    assert isinstance(again, WallocImageCodec)
    assert again.name == str(path) and again.model.config == tiny.model.config
    assert (again.weights_hash, again.tables_hashes) == (tiny.weights_hash, tiny.tables_hashes)
    for (name, a), (other, b) in zip(
        sorted(again.model.state_dict().items()), sorted(tiny.model.state_dict().items()), strict=True
    ):
        assert name == other and torch.equal(a, b)
    image = astronaut[:50, :70]
    data = tiny.encode(image)
    assert again.encode(image) == data
    assert torch.equal(again.decode(data), tiny.decode(data))
    assert not any(p.requires_grad for p in again.model.parameters()) and not again.model.training


def test_the_file_is_plain_tensors(tiny_weights: Path) -> None:
    with safe_open(tiny_weights, "pt") as file:
        keys = set(file.keys())
        assert {"tables.precision", "tables.low", "tables.size", "tables.frequencies", "tables.expected"} <= keys
        assert all(k.startswith(("model.", "tables.", "context.")) for k in keys)
        assert {file.get_tensor(k).dtype for k in keys if k.startswith("model.")} == {torch.float32}
        assert set(file.metadata()) == {"isthmus"}


def test_hashes_see_every_change() -> None:
    tensors = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2, 3)}
    found = hash_tensors(tensors)
    assert len(found) == 8 and int(found, 16) >= 0
    assert hash_tensors(dict(reversed(tensors.items()))) == found
    assert hash_tensors({k: v.clone().double() for k, v in tensors.items()}) == found
    others = [
        tensors | {"a": torch.tensor([1.0, 2.0000002])},
        tensors | {"b": torch.zeros(3, 2)},
        {"a": tensors["a"], "c": tensors["b"]},
        {"a": tensors["a"]},
    ]
    assert len({found, *(hash_tensors(t) for t in others)}) == 5
    assert hash_tensors({"w": torch.arange(6.0).reshape(2, 3)}) == hash_tensors(
        {"w": torch.arange(6.0).reshape(2, 3).T.contiguous().T}
    )


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(UnreadableFileError, match="no such weights file"):
            TrainedFile(path)


def test_a_codec_in_hand_outlives_its_file(
    tiny_weights: Path, tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next training replaces the file, or the process works elsewhere: what was loaded goes on as it was."""
    (tmp_path / "mine.safetensors").write_bytes(tiny_weights.read_bytes())
    monkeypatch.chdir(tmp_path)
    codec = isthmus.load("mine.safetensors")
    data = codec.encode(astronaut[:30, :30])
    monkeypatch.chdir("/")
    (tmp_path / "mine.safetensors").unlink()
    assert codec.decode(data).shape == (3, 30, 30)
