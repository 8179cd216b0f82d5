# SPDX-License-Identifier: Apache-2.0
"""Names, revisions and hashes: which codec a name or a stream means."""

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.bitstream.track import TrackHeader
from isthmus.codecs import of_file, registry
from isthmus.codecs.registry import PRETRAINED, codec_for, describe, pretrained
from isthmus.codecs.walloc.audio.codec import WallocAudioCodec
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.devices import check_device
from isthmus.errors import UnknownCodecError, UnreadableFileError, WeightsMismatchError
from isthmus.signals import ImageSignal


def trained() -> list[Any]:
    return [entry for entry in pretrained() if entry.file]


def test_what_ships_is_what_the_index_says() -> None:
    for entry in trained():
        codec = isthmus.load(entry.label)
        assert isinstance(codec, WallocImageCodec | WallocAudioCodec) and codec.kind == entry.kind
        assert (codec.codec_id, codec.tables_hashes, codec.weights_hash) == (
            entry.codec_id, entry.tables, entry.weights_hash,
        )  # fmt: skip
        ids = {"image": ["walloc.1", "walloc.2"], "audio": ["walloc.3"]}[entry.kind]
        assert list(entry.tables) == ids and entry.codec_id == ids[-1]
        assert (PRETRAINED / entry.file).stat().st_size <= {"image": 12e6, "audio": 6e6}[entry.kind]
        assert entry.summary and "\n" not in entry.summary
        recipe = json.loads((PRETRAINED / entry.file).with_suffix(".json").read_text())
        assert recipe["weights_hash"] == entry.weights_hash and recipe["seconds"] > 0
        assert recipe["images" if entry.kind == "image" else "sounds"]
    assert len({(p.name, p.revision) for p in pretrained()}) == len(pretrained())


def test_a_codec_has_the_channels_of_its_name() -> None:
    for name, channels in (("walloc-image-f8c12", 12), ("walloc-image-f8c48", 48)):
        config = isthmus.load(name).model.config  # type: ignore[attr-defined]
        assert config.latent_channels == channels and 1 << config.levels == 8
    for name, channels in (("walloc-audio-f256c27", 27), ("walloc-audio-f256c108", 108)):
        config = isthmus.load(name).model.config  # type: ignore[attr-defined]
        assert config.latent_channels == channels and config.factor == 256


def test_the_plain_name_is_the_newest_revision() -> None:
    for name in isthmus.list_codecs():
        newest = max((p for p in pretrained() if p.name == name), key=lambda p: p.revision)
        assert isthmus.load(name) is isthmus.load(newest.label)


@pytest.mark.parametrize(
    "name",
    [
        "walloc",
        "walloc-image-f8c12.r99",
        "",
        "compressai:bmshj2018",
        "hf:a/b",
        "x.pt",
        "dfloat:x",
        "dfloat:",
        "dfloat.r1",
        "walloc:x",
    ],
)
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownCodecError):
        isthmus.load(name)


def test_a_weights_file_by_path(tiny_weights: Path, tmp_path: Path) -> None:
    for path in (tiny_weights, str(tiny_weights)):
        assert isthmus.load(path).codec_id == "walloc.2"  # type: ignore[arg-type]
    with pytest.raises(UnreadableFileError, match="no such weights file"):
        isthmus.load(str(tmp_path / "absent.safetensors"))


def test_devices() -> None:
    assert check_device("cpu") == "cpu"
    assert check_device("cpu:0") == check_device("cpu:1") == "cpu"
    with pytest.raises(ValueError, match="device None"):
        check_device(None)  # type: ignore[arg-type]
    for device in ("toaster", "", "cuda:", "meta", "cpu cuda", f"cuda:{torch.cuda.device_count()}"):
        with pytest.raises(ValueError, match="device"):
            isthmus.load("walloc-image-f8c12", device)


def header(tables: str, weights: str, codec_id: str = "walloc.1") -> TrackHeader:
    return TrackHeader(codec_id, tables, weights, ImageSignal(8, 8), b"\x32")


def test_streams_find_their_codec() -> None:
    for entry in trained():
        for codec_id, tables in entry.tables.items():
            found = header(tables, entry.weights_hash, codec_id)
            assert codec_for(found) is isthmus.load(entry.label)
            assert describe(found)["codec"] == entry.label
    with pytest.raises(UnknownCodecError, match=r"'stem\.1'.*walloc\.1"):
        codec_for(header("01234567", "01234567", "stem.1"))
    with pytest.raises(WeightsMismatchError, match=r"01234567.*isthmus\.load"):
        codec_for(header("01234567", "01234567"))
    assert describe(header("01234567", "01234567", "stem.1"))["codec"] is None


@pytest.fixture
def second_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pretrained folder in which f8c12's name moved on to the weights of f8c48."""
    entries = {p.name: p for p in pretrained()}
    old, new = entries["walloc-image-f8c12"], entries["walloc-image-f8c48"]
    moved = {**new.__dict__, "name": old.name, "revision": old.revision + 1}
    (tmp_path / "index.json").write_text(json.dumps([moved, old.__dict__]))
    for file in (old.file, new.file):
        for path in PRETRAINED.glob(f"{Path(file).stem}*.safetensors"):
            shutil.copyfile(path, tmp_path / path.name)
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path)
    monkeypatch.setattr(registry, "_loaded", {})
    pretrained.cache_clear()
    yield
    pretrained.cache_clear()


def test_old_streams_still_decode_when_a_name_moves_on(astronaut: np.ndarray, request: pytest.FixtureRequest) -> None:
    old = isthmus.load("walloc-image-f8c12")
    data = old.encode(astronaut[:32, :32])
    revision = next(p.revision for p in trained() if p.name == old.name)
    before = isthmus.decode(data)
    request.getfixturevalue("second_revision")
    name = "walloc-image-f8c12"
    assert isthmus.list_codecs() == [name]
    assert isthmus.load(name).model.config.latent_channels == 48  # type: ignore[attr-defined]
    assert isthmus.inspect(data)["codec"] == f"{name}.r{revision}"
    assert torch.equal(isthmus.decode(data), before)
    assert isthmus.unpack(data).codec.name == f"{name}.r{revision}"
    assert isthmus.unpack(isthmus.encode(astronaut[:32, :32], codec=name)).codec.name == name


@pytest.fixture
def own(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights file, and the rule that it has settled."""
    monkeypatch.setattr(of_file, "TICK", -1)
    return Path(shutil.copyfile(tiny_weights, tmp_path / "own.safetensors"))


def test_a_codec_of_a_file_is_found_wherever_the_process_works(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    codec = isthmus.load("own.safetensors")
    assert codec.name == str(own) and isthmus.load(str(own)) is codec is isthmus.load("./own.safetensors")
    pickled = pickle.dumps(codec)
    monkeypatch.chdir("/")
    assert pickle.loads(pickled) is codec
    monkeypatch.setattr(of_file, "_kept", {})  # another process
    assert pickle.loads(pickled).weights_hash == codec.weights_hash  # type: ignore[attr-defined]


def test_a_file_that_was_replaced_is_read_again(own: Path) -> None:
    before = isthmus.load(str(own))
    own.with_suffix(".new").write_bytes(own.read_bytes())
    own.with_suffix(".new").replace(own)
    after = isthmus.load(str(own))
    assert after is not before and isthmus.load(str(own)) is after
    own.unlink()
    with pytest.raises(UnreadableFileError, match="no such weights file"):
        isthmus.load(str(own))


def test_a_file_that_has_just_been_written_is_not_trusted_to_stay(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_file, "TICK", 10**18 * 9)
    assert isthmus.load(str(own)) is not isthmus.load(str(own))


def test_a_file_that_is_written_over_changes_no_codec(own: Path) -> None:
    codec, image = isthmus.load(str(own)), np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    before, size = codec.encode(image), own.stat().st_size
    with own.open("r+b") as file:  # the same file, as a mapping of it would see
        file.write(bytes(size))
    assert codec.encode(image) == before


def test_few_codecs_of_files_are_kept(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_file, "_kept", {})
    monkeypatch.setattr(of_file, "MOST", 2)
    for number in range(4):
        isthmus.load(str(shutil.copyfile(own, own.with_name(f"{number}.safetensors"))))
    assert [path.name for path, _ in of_file._kept] == ["2.safetensors", "3.safetensors"]
