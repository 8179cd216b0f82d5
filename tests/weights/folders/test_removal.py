# SPDX-License-Identifier: Apache-2.0
"""Sources that go: each shard is whole in one form or the other at every moment, and running again goes on."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from isthmus import weights
from isthmus.errors import CorruptStreamError, UnwritableFileError
from isthmus.weights import checkpoints, shard_compression
from isthmus.weights.folders import removal
from isthmus.weights.safetensors_writer import SafetensorsWriter
from tests.weights.folders.conftest import SHARDS, content_of
from tests.weights.sample_files import normal


def forms(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("model-"))


PACKED = [name.replace(".safetensors", ".dfloat") for name in SHARDS]


@pytest.mark.parametrize("in_place", [True, False])
def test_there_and_back(folder: Path, tmp_path: Path, in_place: bool) -> None:
    source, back = content_of(folder), tmp_path / "back"
    weights.compress(folder, tmp_path / "kept")
    packed = folder if in_place else tmp_path / "packed"
    if in_place:
        weights.compress(folder, in_place=True)
    else:
        weights.compress(folder, packed, delete_source=True)
        assert sorted(content_of(folder)) == ["config.json", "model.safetensors.index.json", "tokenizer.json"]
    assert content_of(packed) == content_of(tmp_path / "kept")
    weights.decompress(packed, back)
    assert content_of(back) == source


class Stop(BaseException):
    """A kill, as far as a test can tell."""


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("where", ["compress_file", "replace_source", "mark_folders", "after"])
@pytest.mark.parametrize("number", [1, 3])
def test_killed_at_any_point(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool, where: str, number: int
) -> None:
    """Before the `number`-th shard is made, before its source is removed, after that, or before the config says so."""
    source, calls = content_of(folder), 0
    weights.compress(folder, tmp_path / "kept")
    packed = folder if in_place else tmp_path / "packed"
    options: dict[str, Any] = {"in_place": True} if in_place else {"dst": packed, "delete_source": True}
    name = "replace_source" if where == "after" else where
    module = checkpoints if name == "mark_folders" else shard_compression
    real: Callable[..., object] = getattr(module, name)

    def stopped(*args: Any, **kwargs: Any) -> object:
        nonlocal calls
        calls += 1
        due = calls == number or where == "mark_folders"
        if where == "after":
            real(*args, **kwargs)
        if due:
            raise Stop
        return None if where == "after" else real(*args, **kwargs)

    monkeypatch.setattr(module, name, stopped)
    with pytest.raises(Stop):
        weights.compress(folder, **options)
    for shard, data in source.items():
        if shard.endswith(".safetensors"):
            form = packed / shard.replace(".safetensors", ".dfloat")
            assert ((folder / shard).is_file() and (folder / shard).read_bytes() == data) or weights.verify(form)
    assert (folder / "config.json").read_bytes() == source["config.json"]
    monkeypatch.undo()
    weights.compress(folder, **options)
    assert content_of(packed) == content_of(tmp_path / "kept")


def test_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = content_of(folder)
    calls = 0
    real = SafetensorsWriter.write_at

    def full(self: SafetensorsWriter, place: int, data: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, place, data)

    monkeypatch.setattr(SafetensorsWriter, "write_at", full)
    with pytest.raises(UnwritableFileError, match="no space left"):
        weights.compress(folder, in_place=True)
    found = content_of(folder)
    assert not [name for name in found if name.endswith(".part")]
    assert all(
        found.get(name) == data for name, data in source.items() if name.replace(".safetensors", ".dfloat") not in found
    )
    assert 0 < len([name for name in found if name.endswith(".dfloat")]) < 4
    monkeypatch.undo()
    weights.compress(folder, in_place=True)
    weights.decompress(folder, folder.with_name("back"))
    assert content_of(folder.with_name("back")) == source


def test_a_disk_that_writes_something_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = content_of(folder)

    def damage(handle: int) -> None:
        os.pwrite(handle, b"\x55" * 64, os.fstat(handle).st_size // 2)

    monkeypatch.setattr(os, "fsync", damage)
    with pytest.raises(CorruptStreamError):
        weights.compress(folder, in_place=True)
    assert content_of(folder) == source


def test_an_interrupted_folder_can_be_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = content_of(folder)
    real = removal.replace_source
    (folder / "consolidated.safetensors").unlink()

    def stopped(path: Path, *args: Any, **options: Any) -> None:
        real(path, *args, **options)
        raise Stop

    monkeypatch.setattr(shard_compression, "replace_source", stopped)
    with pytest.raises(Stop):
        weights.compress(folder, in_place=True)
    assert forms(folder) == [PACKED[0], SHARDS[1]]
    assert [p.name for p in weights.weight_files(folder)] == [PACKED[0], SHARDS[1]]
    weights.decompress(folder, tmp_path / "back")
    del source["consolidated.safetensors"]
    assert content_of(tmp_path / "back") == source


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    moved = (folder / SHARDS[0]).rename(tmp_path / "blob")
    (folder / SHARDS[0]).symlink_to(moved)
    with pytest.raises(UnwritableFileError, match=r"model-00001-of-00002.safetensors: a link, or of the Hugging Face"):
        weights.compress(folder, in_place=True)
    with pytest.raises(UnwritableFileError, match=r"a link, or of the Hugging Face"):
        weights.compress(folder / SHARDS[0], tmp_path / "x", delete_source=True)
    (folder / SHARDS[0]).unlink()
    moved.rename(folder / SHARDS[0])
    with pytest.raises(UnwritableFileError, match="is the base"):
        weights.compress(folder, in_place=True, base=folder)
    save_file({"w0": normal(8, 8, seed=11)}, tmp_path / "other.safetensors")
    weights.compress(tmp_path / "other.safetensors", folder / PACKED[0])
    with pytest.raises(UnwritableFileError, match=f"{PACKED[0]}: holds other weights than {SHARDS[0]}"):
        weights.compress(folder, in_place=True)
    assert forms(folder) == sorted([PACKED[0], *SHARDS])
    for options in ({}, {"dst": tmp_path / "x", "in_place": True}):
        with pytest.raises(ValueError, match="expected a target, or in_place"):
            weights.compress(folder, **options)  # type: ignore[arg-type]


def test_single_files(folder: Path, tmp_path: Path) -> None:
    source = folder / SHARDS[0]
    content = source.read_bytes()
    assert weights.compress(source, in_place=True)[0].target == folder / PACKED[0]
    assert not source.exists()
    weights.decompress(folder / PACKED[0], source)
    assert source.read_bytes() == content
    (folder / PACKED[0]).unlink()
    weights.compress(source, tmp_path / "x", delete_source=True)
    assert not source.exists()
    weights.decompress(tmp_path / "x", tmp_path / "weights.bin")
    with pytest.raises(UnwritableFileError, match="expected a name that ends in .safetensors"):
        weights.compress(tmp_path / "weights.bin", in_place=True)
    assert (tmp_path / "weights.bin").read_bytes() == content
