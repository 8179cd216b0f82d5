# SPDX-License-Identifier: Apache-2.0
"""What is in the target already: kept or made again where it is of the same original, else refused before any write."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from isthmus import weights
from isthmus.errors import CorruptStreamError, UnwritableFileError
from isthmus.weights import shard_compression
from isthmus.weights.folders.config import INDEX
from tests.weights.folders.conftest import SHARDS, content_of
from tests.weights.sample_files import normal

PACKED = [name.replace(".safetensors", ".dfloat") for name in SHARDS]


def flip(path: Path) -> None:
    """Damages the file within the codes of its first tensor."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture
def other(folder: Path) -> Path:
    """A fine-tuned model: the same names, sizes and headers, other weights."""
    copy = folder.with_name("other")
    shutil.copytree(folder, copy)
    for k, shard in enumerate(SHARDS):
        save_file({f"w{k}": normal(200, 100, seed=k + 70), f"b{k}": normal(8, seed=k)}, copy / shard)
    return copy


def test_a_damaged_shard_is_made_again(folder: Path, tmp_path: Path) -> None:
    weights.compress(folder, tmp_path / "packed")
    whole = content_of(tmp_path / "packed")
    flip(tmp_path / "packed" / PACKED[1])
    done = weights.compress(folder, tmp_path / "packed")
    assert [one.target.name for one in done if not one.skipped] == [PACKED[1]]
    assert content_of(tmp_path / "packed") == whole
    flip(tmp_path / "packed" / PACKED[0])
    weights.compress(folder, tmp_path / "packed", delete_source=True)
    assert content_of(tmp_path / "packed") == whole and not (folder / SHARDS[0]).exists()


def test_a_damaged_shard_without_its_source(folder: Path, tmp_path: Path) -> None:
    weights.compress(folder, in_place=True)
    sizes = {one.target.name: one.source_bytes for one in weights.compress(folder, in_place=True)}
    assert sizes[PACKED[0]] == weights.WeightFile(folder / PACKED[0]).source["bytes"]
    flip(folder / PACKED[1])
    with pytest.raises(CorruptStreamError, match=rf"{PACKED[1]}: .*fetch it again"):
        weights.compress(folder, in_place=True)
    save_file({"plain": normal(8, 8)}, folder / "more.safetensors")
    with pytest.raises(CorruptStreamError, match=rf"model/{PACKED[1]}: .*fetch it again"):
        weights.compress(folder, tmp_path / "packed", delete_source=True)
    assert not (tmp_path / "packed" / PACKED[1]).exists() and (folder / PACKED[1]).exists()


def test_a_disk_that_writes_something_else(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shard_compression.compress_file

    def damaged(file: object, target: Path, *rest: object, **options: object) -> None:
        real(file, target, *rest, **options)  # type: ignore[arg-type]
        flip(target)

    monkeypatch.setattr(shard_compression, "compress_file", damaged)
    with pytest.raises(CorruptStreamError, match="stays; run the same command again"):
        weights.compress(folder / SHARDS[0], tmp_path / "x", delete_source=True)
    assert (folder / SHARDS[0]).exists() and not (tmp_path / "x").exists()


def test_another_run_of_the_same_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources go while a slower one is at its first shard, and just before it would remove one."""
    weights.compress(folder, tmp_path / "kept")
    real: dict[str, Callable[..., None]] = {}
    calls = {"compress_file": 0, "replace_source": 0}

    def quicker(name: str) -> Callable[..., None]:
        def run(*arguments: object, **options: object) -> None:
            calls[name] += 1
            if calls[name] == 2:
                monkeypatch.undo()
                weights.compress(folder, in_place=True)
            real[name](*arguments, **options)

        return run

    for name in calls:
        real[name] = getattr(shard_compression, name)
        monkeypatch.setattr(shard_compression, name, quicker(name))
        done = weights.compress(folder, in_place=True)
        assert len(done) == 4 and content_of(folder) == content_of(tmp_path / "kept")
        weights.decompress(folder, tmp_path / name)
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / name, folder)


def test_other_weights_are_not_replaced(folder: Path, other: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "packed", tmp_path / "back"
    weights.compress(folder, packed)
    weights.compress(other, tmp_path / "other-packed")
    weights.decompress(tmp_path / "other-packed", back)
    for work, target, name in (
        (lambda: weights.compress(other, packed), packed, PACKED[0]),
        (lambda: weights.compress(other / SHARDS[1], packed), packed, PACKED[1]),
        (lambda: weights.decompress(packed, back), back, SHARDS[0]),
    ):
        before = content_of(target)
        with pytest.raises(UnwritableFileError, match=rf"/{name}: exists already and does not hold .*delete it or"):
            work()
        assert content_of(target) == before
    for folder_ in (folder, other):  # the same config, but an index of other weights
        for path in folder_.glob("*.safetensors"):
            path.rename(path.with_name(f"{folder_.name}.safetensors"))
        (folder_ / "model.safetensors.index.json").unlink()
    (other / "other.safetensors").rename(other / "model.safetensors")
    for path in packed.glob("*.dfloat"):
        path.unlink()
    (packed / "model.safetensors.index.json").unlink()
    with pytest.raises(UnwritableFileError, match=rf"{INDEX}: exists already and names other weights"):
        weights.compress(other, packed)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_other_files_are_not_replaced(folder: Path, tmp_path: Path, name: str) -> None:
    packed, back = tmp_path / "packed", tmp_path / "back"
    weights.compress(folder, packed)
    for target, work in (
        (tmp_path / "a", lambda: weights.compress(folder, tmp_path / "a")),
        (back, lambda: weights.decompress(packed, back)),
    ):
        target.mkdir()
        for what in ("something else", None):
            if what:
                (target / name).write_text(what)
                words = f"{name}: exists already and is not the same as .*; delete it or choose another folder"
            else:
                (target / name).unlink()
                os.mkfifo(target / name)
                words = f"{name}: is no file, where one is to be written"
            with pytest.raises(UnwritableFileError, match=words):
                work()
            assert [path.name for path in target.iterdir()] == [name]
        (target / name).unlink()
        work()
        work()
    assert content_of(tmp_path / "a") == content_of(packed) and content_of(back) == content_of(folder)


def test_decompressing_goes_on(folder: Path, tmp_path: Path) -> None:
    weights.compress(folder, tmp_path / "packed")
    weights.decompress(tmp_path / "packed", tmp_path / "back")
    (tmp_path / "back" / SHARDS[1]).unlink()
    done = weights.decompress(tmp_path / "packed", tmp_path / "back")
    assert [one.target.name for one in done if not one.skipped] == [SHARDS[1]]
    assert content_of(tmp_path / "back") == content_of(folder)


def test_a_finished_config_stays_while_the_command_runs_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.compress(folder, tmp_path / "packed")
    before = content_of(tmp_path / "packed")
    monkeypatch.setattr(shard_compression.ShardCompression, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        weights.compress(folder, tmp_path / "packed")
    assert content_of(tmp_path / "packed") == before


def test_targets_that_are_files(folder: Path, other: Path, tmp_path: Path) -> None:
    source, notes = folder / SHARDS[0], tmp_path / "notes.txt"
    notes.write_text("notes")
    words = "notes.txt: exists already and does not hold the weights of .*; delete it or choose another name"
    with pytest.raises(UnwritableFileError, match=words):
        weights.compress(source, notes)
    weights.compress(source, tmp_path / "a")
    with pytest.raises(UnwritableFileError, match=words):
        weights.decompress(tmp_path / "a", notes)
    with pytest.raises(UnwritableFileError, match="exists already"):
        weights.decompress(tmp_path / "a", other / SHARDS[0])
    with pytest.raises(UnwritableFileError, match="exists already"):
        weights.compress(source, other / SHARDS[0])
    with pytest.raises(UnwritableFileError, match="exists already"):  # what may be the only copy
        weights.compress(other / SHARDS[0], tmp_path / "a", delete_source=True)
    weights.compress(other / SHARDS[0], tmp_path / "a")  # a compressed file by its own name is replaced
    assert weights.verify(tmp_path / "a") and notes.read_text() == "notes"
    weights.compress(source, tmp_path / "a", mode="rans")
    weights.decompress(tmp_path / "a", "/dev/null")


def test_verify_checks_the_index(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    weights.compress(folder, packed)
    index = packed / "model.safetensors.index.json"
    (packed / PACKED[1]).rename(tmp_path / "moved")
    with pytest.raises(CorruptStreamError, match=r"index.json: shard model-00002-of-00002.* is not there"):
        weights.verify(packed)
    shutil.copy(folder / SHARDS[1], packed)
    (packed / INDEX).unlink()  # which is written at the end
    words = f"half of it is compressed: {SHARDS[1]} is plain.*--in-place` goes on"
    with pytest.raises(CorruptStreamError, match=words):
        weights.verify(packed)
    (packed / SHARDS[1]).unlink()
    (tmp_path / "moved").rename(packed / PACKED[1])
    text = index.read_text()
    index.write_text(text.replace(SHARDS[0], f"../{SHARDS[0]}"))
    with pytest.raises(CorruptStreamError, match="no file name within the folder"):
        weights.verify(packed)
    index.write_text(text)
    assert len(weights.verify(packed)) == 4


def test_dry_runs_check_the_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "absent.safetensors"}}))
    with pytest.raises(CorruptStreamError, match="absent.safetensors is not there"):
        weights.estimate(folder)


def test_totals_count_a_shard_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_compression, "replace_source", lambda *_, **__: 1 / 0)
    total, told = weights.total_bytes(folder), []
    with pytest.raises(ZeroDivisionError):
        weights.compress(folder, in_place=True)
    monkeypatch.undo()
    assert (folder / "consolidated.dfloat").exists() and (folder / "consolidated.safetensors").exists()
    assert weights.total_bytes(folder) == total
    assert len(weights.compress(folder, in_place=True, progress=told.append)) == 4 and sum(told) == total
