# SPDX-License-Identifier: Apache-2.0
"""What a file is, and the rooms of image, sound and tensors: in and out, and what is refused."""

import os
import struct
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from isthmus.errors import ForeignFileError, UnreadableFileError, UnwritableFileError
from isthmus.media import kinds
from isthmus.media.image import write_image
from isthmus.signals import AudioSignal, ImageSignal, TensorSignal, VideoSignal


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file of each kind, each under a name that says nothing."""
    write_image(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8))
    save_file({"w": torch.ones(3)}, tmp_path / "b")
    kinds.write(tmp_path / "c.wav", "audio", np.zeros((2, 7), np.float32), AudioSignal(8000, 2))
    (tmp_path / "c.wav").rename(tmp_path / "c")
    (tmp_path / "a.png").rename(tmp_path / "a")
    (tmp_path / "d").write_bytes(b"\x1aE\xdf\xa3" + bytes(20))
    return {"image": tmp_path / "a", "tensors": tmp_path / "b", "audio": tmp_path / "c", "video": tmp_path / "d"}


def test_kind_of(files: dict[str, Path], tmp_path: Path) -> None:
    for kind, path in files.items():
        assert kinds.kind_of(path) == kinds.kind_of(str(path)) == kind
    for name, kind in (
        ("x.wav", "audio"),
        ("x.safetensors", "tensors"),
        ("x.mp4", "video"),
        ("x.jpg", "image"),
        ("", "image"),
    ):
        assert kinds.kind_of(tmp_path / "absent" / name) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [("fff15080", "audio"), ("fff94c80", "audio"), ("fff05080", "audio"), ("fffb9064", "audio"), ("fffa9064", "audio"),
     ("fff38064", "audio"), ("fff28064", "audio"), ("ffe34064", "audio"), ("fffbf064", None), ("fffb9c64", None),
     ("fff17c80", None), ("fffe4100", None), ("ffd8ffe0", None), ("ff4fff51", None), ("ff0a0000", None),
     ("fff1", None), ("fff1000000000000" + b'{"a"'.hex(), "tensors")],
)  # fmt: skip
def test_frames_of_mp3_and_aac_are_known(tmp_path: Path, head: str, kind: str | None) -> None:
    """And nothing else: text in UTF-16, JPEG, JPEG 2000 and JPEG XL begin alike."""
    (tmp_path / "a").write_bytes(bytes.fromhex(head))
    assert kinds.told_kind(tmp_path / "a") == kinds.kind_of_head(bytes.fromhex(head)) == kind


def test_files_of_no_kind_are_not_called_images(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    for name, words in (("text", "looks like text"), ("empty", "is empty"), ("", "is a folder")):
        with pytest.raises(ForeignFileError, match=f"{name}: .*{words}.*; expected a file of an image .*, of sound"):
            kinds.read(tmp_path / name, "image", {})
    with pytest.raises(ForeignFileError, match="not an image"):
        kinds.read(tmp_path / "text.png", "image", {})


def test_listing(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.webp", ".hidden.png", "notes.txt", "below/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [p.name for p in kinds.list_files(tmp_path, "image")]
    assert names == ["a.jpg", "b.PNG", "c.webp"]
    assert [p.name for p in kinds.list_files(tmp_path, "image", last=2)] == names[1:]
    below = [p.name for p in kinds.list_files(tmp_path, "image", recursive=True)]
    assert below == ["a.jpg", "b.PNG", "d.png", "c.webp"]
    assert kinds.list_files(tmp_path / "notes.txt", "image") == [tmp_path / "notes.txt"]
    with pytest.raises(
        UnreadableFileError, match=r"no audio files in this folder or below it; expected some of \.aac, "
    ):
        kinds.list_files(tmp_path, "audio", recursive=True)
    with pytest.raises(UnreadableFileError, match="no such folder"):
        kinds.list_files(tmp_path / "absent", "image")
    with pytest.raises(UnreadableFileError, match="video"):
        kinds.list_files(tmp_path, "video")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize(("channels", "count"), [(1, 0), (1, 1), (2, 301), (7, 5)])
def test_wav_of_every_width(tmp_path: Path, width: int, channels: int, count: int) -> None:
    top = 1 << 8 * width - 1
    values = np.random.default_rng(0).integers(-top, top, (count, channels))
    raw = (values + (128 if width == 1 else 0)).astype("<i8").reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((channels, width, 48000, count, "NONE", ""))
        file.writeframes(raw)
    samples, facts = kinds.read(tmp_path / "a.wav", "audio", {})
    assert facts == {"sample_rate": 48000} and samples.dtype == np.float32 and samples.flags.c_contiguous
    np.testing.assert_array_equal(samples, (values.T / top).astype(np.float32))


def test_wav_round_trip(tmp_path: Path) -> None:
    sound = np.array([[-1.0, 0.5, 1.0, 2.0, 0.25]], np.float32)
    kinds.write(tmp_path / "a.wav", "audio", sound, AudioSignal(11025, 1, 5))
    back, facts = kinds.read(tmp_path / "a.wav", "audio", {})
    assert facts["sample_rate"] == 11025
    np.testing.assert_allclose(back, [[-1, 0.5, 32767 / 32768, 32767 / 32768, 0.25]])


def test_tensors_round_trip(tmp_path: Path) -> None:
    named = {"a": torch.randn(3, 4).bfloat16().t(), "b": torch.tensor(2)}
    kinds.write(tmp_path / "a.safetensors", "tensors", named, TensorSignal())
    back, facts = kinds.read(tmp_path / "a.safetensors", "tensors", {})
    assert facts == {} and all(torch.equal(back[name], named[name]) for name in named)
    kinds.write(tmp_path / "one.safetensors", "tensors", torch.ones(2), TensorSignal())
    assert list(kinds.read(tmp_path / "one.safetensors", "tensors", {})[0]) == ["tensor"]


@pytest.mark.parametrize("kind", ["image", "audio", "tensors"])
def test_bad_files(tmp_path: Path, kind: str) -> None:
    (tmp_path / "text").write_text("hello, nothing of this kind\n" * 3)
    (tmp_path / "empty").write_bytes(b"")
    for path in (tmp_path / "text", tmp_path / "empty", tmp_path / "absent", tmp_path):
        with pytest.raises(UnreadableFileError, match=path.name):
            kinds.read(path, kind, {})
    with pytest.raises(ValueError, match=r"\.xyz"):
        kinds.check_writable(tmp_path / "a.xyz", kind)


def test_cut_wav(tmp_path: Path) -> None:
    kinds.write(tmp_path / "a.wav", "audio", np.zeros((1, 50), np.float32), AudioSignal(8000, 1))
    whole = (tmp_path / "a.wav").read_bytes()
    for length in (10, 30, 43, 45, 143):
        (tmp_path / "a.wav").write_bytes(whole[:length])
        with pytest.raises(UnreadableFileError):
            kinds.read(tmp_path / "a.wav", "audio", {})


def test_wav_of_widths_that_nobody_has(tmp_path: Path) -> None:
    for width, rate in ((5, 8000), (8, 8000), (2, 0)):
        body = bytes(4 * width)
        form = struct.pack("<HHIIHH", 1, 1, rate, rate * width, width, 8 * width)
        chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(body)) + body
        (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
        with pytest.raises(UnreadableFileError, match=r"a\.wav"):
            kinds.read(tmp_path / "a.wav", "audio", {})


def test_metadata_that_is_not_kept_is_named(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "a.safetensors", {"format": "pt", "author": "me"})
    with pytest.warns(UserWarning, match="author.*isthmus weights compress"):
        kinds.read(tmp_path / "a.safetensors", "tensors", {})
    kinds.write(tmp_path / "b.safetensors", "tensors", {"w": torch.ones(3)}, TensorSignal())
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_kind_without_a_room(tmp_path: Path) -> None:
    for call in (
        lambda: kinds.read(tmp_path, "video", {}),
        lambda: kinds.check_writable(tmp_path, "smell"),
    ):
        with pytest.raises(UnreadableFileError, match="no files of that kind"):
            call()
    with pytest.raises(UnwritableFileError):
        kinds.write(tmp_path / "no" / "a.wav", "audio", np.zeros((1, 1), np.float32), AudioSignal(8000, 1))


def test_signals_say_their_rate() -> None:
    assert ImageSignal(10, 20).rate(50) == 2.0 and ImageSignal(10, 20).unit == "bits per pixel"
    assert AudioSignal(8000, 2, 16000).rate(1000) == 4.0 and AudioSignal(8000, 2).rate(1000) is None
    assert AudioSignal(8000, 2, 0).rate(10) is None and AudioSignal(8000, 2).unit == "kbit/s"
    assert VideoSignal(10, 20, frames=5).rate(250) == 2.0 and VideoSignal(10, 20).rate(250) is None
    tensors = {"a": torch.zeros(3, 4), "b": torch.zeros(4)}
    assert TensorSignal().rate(6, tensors) == 3.0 and TensorSignal().rate(6, torch.zeros(16)) == 3.0
    assert TensorSignal().rate(6) is None and TensorSignal().rate(6, {}) is None
    texts = [
        str(s)
        for s in (
            ImageSignal(10, 20),
            AudioSignal(8000, 1, 4000),
            VideoSignal(4, 6, frame_rate=Fraction(25, 2), frames=3),
        )
    ]
    assert texts == ["20x10", "0.50 s, 8000 Hz, 1 channel", "3 frames of 6x4, 12.5 a second"]


def test_litter_is_counted(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", ".DS_Store", "Thumbs.db", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in kinds.list_files(tmp_path, "image")] == ["a.png", "b.jpg"]
    with pytest.warns(UserWarning, match=r"3 are hidden or of another kind, and left out \(\.DS_Store, \._a\.png"):
        kinds.tell_left_out(tmp_path, "image")
    kinds.tell_left_out(tmp_path / "a.png", "image")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_in_hidden_folders_or_no_file_is_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("a.png", ".trash/b.png", "below/c.png", "below/.git/d.png", "e.png/f.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "absent.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert [p.name for p in kinds.list_files(tmp_path, "image")] == ["a.png"]
    assert [p.name for p in kinds.list_files(tmp_path, "image", recursive=True)] == ["a.png", "c.png", "f.png"]
    with pytest.warns(UserWarning, match=r"5 are .*left out \(\.trash, below, e\.png"):
        kinds.tell_left_out(tmp_path, "image")
    with pytest.warns(UserWarning, match=r"4 are .*left out \(b\.png, d\.png, link\.png, \.\.\."):
        kinds.tell_left_out(tmp_path, "image", recursive=True)


def test_a_stream_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89IST\1")
    with pytest.raises(UnreadableFileError, match="an isthmus stream already: decode it"):
        kinds.read(tmp_path / "x.png", "image", {})
