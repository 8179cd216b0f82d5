# SPDX-License-Identifier: Apache-2.0
"""A source is never written to, links are read through, and the Hugging Face cache means one of its snapshots."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from isthmus import weights
from isthmus.errors import CorruptStreamError, IsthmusError, UnreadableFileError, UnwritableFileError
from tests.weights.folders.conftest import content_of
from tests.weights.sample_files import normal


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A folder with one shard."""
    (tmp_path / "one").mkdir()
    save_file({"w": normal(64, 64)}, tmp_path / "one" / "model.safetensors")
    (tmp_path / "one" / "vocab.txt").write_text("a b")
    return tmp_path / "one"


@pytest.fixture
def cache(one: Path, tmp_path: Path) -> Path:
    """A model's folder in the Hugging Face cache."""
    root = tmp_path / "models--o--n"
    snapshot = root / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (root / "blobs").mkdir()
    for path in one.iterdir():
        shutil.copy(path, root / "blobs" / f"hash-{path.stem}")
        (snapshot / path.name).symlink_to(f"../../blobs/hash-{path.stem}")
    return root


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_in_the_target_are_replaced(one: Path, tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    before = content_of(one)
    other = tmp_path / "other"
    other.write_bytes(b"a b")
    packed, back = tmp_path / "packed", tmp_path / "back"
    for folder in (packed, back):
        folder.mkdir()
    link(one / "model.safetensors", packed / "model.dfloat")
    link(other, packed / "vocab.txt")
    link(one / "model.safetensors", back / "model.safetensors")
    weights.compress(one, packed)
    compressed = content_of(packed)
    weights.decompress(packed, back)
    assert content_of(one) == before == content_of(back) and content_of(packed) == compressed
    assert not any(p.is_symlink() or p.samefile(other) for p in packed.iterdir())
    link(one / "model.safetensors", tmp_path / "file")
    weights.compress(one / "model.safetensors", tmp_path / "file")
    assert content_of(one) == before and (tmp_path / "file").stat().st_size < len(before["model.safetensors"])


def test_linked_folders_in_the_target_are_refused(one: Path, tmp_path: Path) -> None:
    (one / "vae").mkdir()
    shutil.move(one / "vocab.txt", one / "vae")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "vae").symlink_to(one / "vae")
    with pytest.raises(UnwritableFileError, match=r"packed/vae: a link to .*; remove the link"):
        weights.compress(one, tmp_path / "packed")
    assert not (tmp_path / "packed" / "model.dfloat").exists()


def test_two_sources_of_one_target_are_refused(one: Path, tmp_path: Path) -> None:
    weights.compress(one / "model.safetensors", one / "model.dfloat")
    for way in (weights.compress, weights.decompress):
        with pytest.raises(UnwritableFileError, match=r"model\.\w+ and .*model\.\w+: both would become"):
            way(one, tmp_path / "packed")
    (one / "model.dfloat").unlink()
    (tmp_path / "packed").mkdir()
    shutil.copy(one / "model.safetensors", tmp_path / "packed" / "model.safetensors")
    with pytest.raises(UnwritableFileError, match=r"packed/model.safetensors: would lie beside model.dfloat"):
        weights.compress(one, tmp_path / "packed")


def test_the_cache_means_its_snapshot(cache: Path, one: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    weights.compress(cache, packed)
    assert sorted(content_of(packed)) == ["model.dfloat", "vocab.txt"]
    weights.decompress(packed, tmp_path / "back")
    assert content_of(tmp_path / "back") == content_of(one)
    assert weights.weight_files(cache) == [cache / "snapshots" / "abc" / "model.safetensors"]
    (cache / "snapshots" / "def").mkdir()
    with pytest.raises(UnreadableFileError, match="2 snapshots and no refs/main; give one of abc, def"):
        weights.compress(cache, tmp_path / "x")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    weights.compress(cache.rename(tmp_path / "moved"), packed)
    for name in ("../..", "..", ".", "", "abc/../abc", "ghi"):
        (tmp_path / "moved" / "refs" / "main").write_text(name)
        with pytest.raises(UnreadableFileError, match="refs/main: names revision"):
            weights.compress(tmp_path / "moved", tmp_path / "x")
    with pytest.raises(UnreadableFileError, match="moved: the Hugging Face cache of a model"):
        weights.compress(tmp_path, tmp_path.with_name("x"))


def test_a_snapshot_in_the_target_keeps_its_blobs(cache: Path, one: Path, tmp_path: Path) -> None:
    blobs = content_of(cache / "blobs")
    weights.compress(one / "model.safetensors", cache / "snapshots" / "abc" / "model.safetensors")
    assert content_of(cache / "blobs") == blobs


def test_linked_parts_are_followed(one: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    pipe.mkdir()
    (pipe / "vae").symlink_to("../one")
    weights.compress(pipe, tmp_path / "packed")
    assert sorted(content_of(tmp_path / "packed")) == ["vae/model.dfloat", "vae/vocab.txt"]
    with pytest.raises(UnwritableFileError, match="lies in the source folder"):
        weights.compress(pipe, one / "packed")
    (one / "again").symlink_to("../pipe")
    with pytest.raises(UnreadableFileError, match="again: a link to the folder .* that it lies in"):
        weights.compress(pipe, tmp_path / "x")


def test_links_that_lead_nowhere(one: Path, tmp_path: Path) -> None:
    (one / "tokenizer.json").symlink_to("/nowhere/y")
    for work in (weights.verify, weights.inspect, lambda src: weights.compress(src, tmp_path / "x")):
        with pytest.raises(UnreadableFileError, match="tokenizer.json: a link to /nowhere/y, which is not there"):
            work(one)
    assert not (tmp_path / "x").exists()


def test_hidden_files_and_folders_are_left_out(one: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"

    def litter(folder: Path, shard: str) -> list[Path]:
        (folder / ".ipynb_checkpoints").mkdir()
        (folder / ".ipynb_checkpoints" / shard).write_bytes(b"damaged")
        (folder / ".gitattributes").write_text("*")
        (folder / f"._{shard}").write_bytes(b"\0\5\x16\7" + bytes(4000))  # as macOS writes it on foreign disks
        (folder / ".#vocab.txt").symlink_to("someone@host.1234")  # a lock of emacs
        return sorted(path for path in folder.iterdir() if path.name.startswith("."))

    hidden = litter(one, "model.safetensors")
    assert list(weights.left_out(one)) == hidden
    weights.compress(one, packed)
    assert sorted(content_of(packed)) == ["model.dfloat", "vocab.txt"]
    assert weights.total_bytes(one) == 8192 and len(weights.inspect(one)) == 1
    hidden = litter(packed, "model.dfloat")
    assert list(weights.left_out(packed)) == hidden
    assert weights.verify(packed) == [packed / "model.dfloat"]
    weights.decompress(packed, tmp_path / "back")
    assert sorted(content_of(tmp_path / "back")) == ["model.safetensors", "vocab.txt"]
    for folder in (one, packed):
        (folder / f"model{'.dfloat' if folder is packed else '.safetensors'}").rename(
            folder / f"w{'.dfloat' if folder is packed else '.safetensors'}"
        )
        assert list(weights.load_file(folder)) == ["w"] and len(weights.inspect(folder)) == 1


def test_pipes_are_left_out(one: Path, tmp_path: Path) -> None:
    for name in ("queue", "a.safetensors", "model.safetensors.index.json"):
        os.mkfifo(one / name)
    weights.compress(one, tmp_path / "packed")
    assert sorted(content_of(tmp_path / "packed")) == ["model.dfloat", "vocab.txt"]
    assert [path.name for path in weights.left_out(one)] == ["a.safetensors", "model.safetensors.index.json", "queue"]
    assert list(weights.load_file(one)) == ["w"]


def test_a_plain_file_beside_compressed_ones(one: Path, tmp_path: Path) -> None:
    packed, again, back = tmp_path / "packed", tmp_path / "again", tmp_path / "back"
    weights.compress(one, packed)
    save_file({"lora": normal(64, 64, seed=1)}, packed / "adapter_model.safetensors")
    assert weights.verify(packed) == [packed / "model.dfloat"]
    assert weights.plain_shards(packed) == [packed / "adapter_model.safetensors"]
    told: list[str] = []
    done = weights.decompress(packed, back, told=lambda d: told.append(d.target.name))
    assert [(d.target.name, d.copied) for d in done] == [
        ("adapter_model.safetensors", True),
        ("model.safetensors", False),
    ]
    assert told == ["vocab.txt", "adapter_model.safetensors", "model.safetensors"]
    assert content_of(back) == {
        **content_of(one),
        "adapter_model.safetensors": content_of(packed)["adapter_model.safetensors"],
    }
    done = weights.compress(packed, again)
    assert [(d.target.name, d.copied) for d in done] == [("adapter_model.dfloat", False), ("model.dfloat", True)]
    assert content_of(again)["model.dfloat"] == content_of(packed)["model.dfloat"]
    for work in (weights.verify, lambda src: weights.decompress(src, tmp_path / "x")):
        with pytest.raises(CorruptStreamError, match="no compressed weights"):
            work(one)
    with pytest.raises(CorruptStreamError, match="compressed already"):
        weights.compress(again, tmp_path / "x")
    (again / "model.dfloat").write_bytes(content_of(one)["model.safetensors"])
    with pytest.raises(CorruptStreamError, match="model.dfloat: no compressed weights, in spite of its name"):
        weights.verify(again)


def test_targets_that_are_folders(one: Path, tmp_path: Path) -> None:
    source = one / "model.safetensors"
    assert weights.compress(source, f"{tmp_path}/new/")[0].target == tmp_path / "new" / "model.dfloat"
    assert weights.decompress(tmp_path / "new" / "model.dfloat", tmp_path / "new")[0].target.name == "model.safetensors"
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == source.read_bytes()
    with pytest.raises(UnwritableFileError, match="does not exist"):
        weights.compress(source, f"{tmp_path}/no/new/")
    with pytest.raises(IsthmusError, match="source itself"):
        weights.compress(source, source)
