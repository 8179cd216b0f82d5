# SPDX-License-Identifier: Apache-2.0
"""Files of sound: every format in, three out, whole and block by block; what is damaged, lies or is no sound."""

import builtins
import io
import re
import struct
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from isthmus.errors import MissingExtraError, UnreadableFileError
from isthmus.media import audio
from isthmus.media.audio import wav
from isthmus.media.audio.wav import open_pipe
from isthmus.signals import AudioSignal
from tests.codecs.walloc.audio.tiny import Pipe, tones

SOUND = tones(2, 5000)


def written(path: Path, subtype: str | None = None, rate: int = 44_100) -> Path:
    soundfile.write(path, SOUND.T, rate, subtype=subtype)
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.opus"])
def test_every_format_is_read(tmp_path: Path, name: str) -> None:
    rate = 48_000 if name == "a.opus" else 44_100
    if name == "a.opus":
        soundfile.write(tmp_path / name, SOUND.T, rate, format="OGG", subtype="OPUS")
    else:
        written(tmp_path / name)
    found, facts = audio.read(tmp_path / name, {})
    assert facts == {"sample_rate": rate} and found.shape == SOUND.shape and found.dtype == np.float32
    loose = name in ("a.ogg", "a.mp3", "a.opus")
    assert np.abs(found - SOUND).max() < (0.5 if loose else 1e-4)
    renamed = (tmp_path / name).rename(tmp_path / "nothing-said")
    assert np.array_equal(audio.read(renamed, {})[0], found)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_of_every_width_is_what_libsndfile_reads(tmp_path: Path, subtype: str) -> None:
    path = written(tmp_path / "a.wav", subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    assert np.array_equal(audio.read(path, {})[0], expected)
    piped = open_pipe(Pipe(path.read_bytes()), "-")  # type: ignore[arg-type]
    assert np.array_equal(np.concatenate(list(piped.blocks()), 1), expected)


def encode_with_ffmpeg(path: Path, *, sound: bool, video: bool) -> Path:
    with av.open(str(path), "w") as container:
        if sound:
            stream: Any = container.add_stream("aac", rate=44_100)
            stream.layout = "stereo"
        if video:
            pictures: Any = container.add_stream("mpeg4", rate=Fraction(25))
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        if video:
            for _ in range(5):
                container.mux(
                    pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24"))
                )
            container.mux(pictures.encode(None))
        if sound:
            for start in range(0, 4096, 1024):
                frame: Any = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(SOUND[:, start : start + 1024]), format="fltp", layout="stereo"
                )
                frame.sample_rate, frame.pts = 44_100, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def test_m4a_and_the_sound_of_a_video(tmp_path: Path) -> None:
    for name, video in (("a.m4a", False), ("a.mp4", True), ("a.mkv", True)):
        found, facts = audio.read(encode_with_ffmpeg(tmp_path / name, sound=True, video=video), {})
        assert facts == {"sample_rate": 44_100} and found.shape[0] == 2 and found.shape[1] >= 4096
    silent = encode_with_ffmpeg(tmp_path / "silent.mp4", sound=False, video=True)
    with pytest.raises(UnreadableFileError, match="no sound in this file"):
        audio.read(silent, {})


def test_wav_that_lies(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    for told, message in (
        (10**9, "truncated: 5000 of 250000000"),
        (200, None),
        (0xFFFFFFFF, None),
        (0x7FFFFFFF, None),
        (0, None),
    ):
        data[place : place + 4] = struct.pack("<I", told)
        path.write_bytes(data)
        if message:
            with pytest.raises(UnreadableFileError, match=message):
                audio.read(path, {})
            with pytest.raises(UnreadableFileError, match="truncated"):
                list(open_pipe(Pipe(bytes(data)), "-").blocks())  # type: ignore[arg-type]
        else:
            expected = {200: 50, 0: 0}.get(told, 5000)  # the length of the whole file is right
            with pytest.warns(UserWarning, match="20000 are there") if expected < 5000 else nullcontext():
                assert audio.read(path, {})[0].shape == (2, expected)
            piped = open_pipe(Pipe(bytes(data)), "-")  # type: ignore[arg-type]
            assert sum(block.shape[1] for block in piped.blocks()) == expected
    for wrong, message in (
        (b"RIFF\0\0\0\0WAVE", "header is cut"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "before their format"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 2, 1, 8000, 0, 1, 8) + b"data\0\0\0\0", "format 2"),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 0, 8000, 0, 1, 8) + b"data\0\0\0\0",
            "0 channels",
        ),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8000, 0, 2, 24) + b"data\0\0\0\0",
            "24 bits in 2",
        ),
    ):
        path.write_bytes(wrong)
        with pytest.raises(UnreadableFileError, match=message):
            audio.read(path, {})


@pytest.mark.parametrize("told", [4 * 5000 - 3, 0xFFFFFFFF])
def test_half_a_sample_at_the_end_is_left_out_and_told(tmp_path: Path, told: int) -> None:
    whole = written(tmp_path / "a.wav").read_bytes()[:-3]
    place = whole.index(b"data") + 4
    data = whole[:4] + b"\xff" * 4 + whole[8:place] + struct.pack("<I", told) + whole[place + 4 :]
    (tmp_path / "a.wav").write_bytes(data)
    for blocks in (audio.open_sound(tmp_path / "a.wav").blocks, open_pipe(Pipe(data), "pipe").blocks):  # type: ignore[arg-type]
        with pytest.warns(UserWarning, match="ends within a sample: its last 1 of 4 bytes are left out"):
            assert sum(block.shape[1] for block in blocks()) == 4999


def test_files_that_are_no_sound(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello, this is not a sound\n")
    (tmp_path / "empty.flac").write_bytes(b"")
    (tmp_path / "picture.mp3").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    for name, message in (
        ("text.wav", "looks like text"),
        ("empty.flac", "not a sound file|empty"),
        ("picture.mp3", "PNG"),
    ):
        with pytest.raises(UnreadableFileError, match=message):
            audio.read(tmp_path / name, {})
    with pytest.raises(UnreadableFileError, match="no such file"):
        audio.read(tmp_path / "absent.wav", {})
    with pytest.raises(UnreadableFileError, match="cannot be read"):
        audio.read(tmp_path, {})


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.wav", "a.mp3"])
def test_truncated_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, tones(1, 60_000).T, 44_100)
    data = path.read_bytes()
    for length in (len(data) // 2, len(data) - 3) if name != "a.mp3" else (len(data) // 2,):
        path.write_bytes(data[:length])
        with pytest.raises(UnreadableFileError, match=r"truncated.* (of \d+ samples|s) are there.*ffmpeg -i") as told:
            audio.read(path, {})
        there = re.search(r"(\d+) of 60000", str(told.value))
        assert there is None or 0.3 * length / len(data) < int(there[1]) / 60_000 < 1
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UnreadableFileError) as told:
        audio.read(path, {})
    assert "a pipe" not in str(told.value)


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_channels_of_no_samples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    audio.write_blocks(path, [], 44_100, 2, 0, {})
    assert audio.read(path, {})[0].shape == (2, 0)
    assert [block.shape for block in audio.open_sound(path).blocks()] == [(2, 0)]
    if suffix == "wav":
        assert [block.shape for block in open_pipe(Pipe(path.read_bytes()), "-").blocks()] == [(2, 0)]  # type: ignore[arg-type]


def test_rates_that_formats_do_not_take(tmp_path: Path) -> None:
    for suffix, rate in ((".ogg", 384_000), (".flac", 768_000)):
        with pytest.raises(ValueError, match=r"write \.wav"):
            audio.write(tmp_path / f"a{suffix}", SOUND, AudioSignal(rate, 2))
        assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 2000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    noise = np.random.default_rng(0).uniform(-1, 1, (1, 100_000)).astype(np.float32)
    for suffix in (".flac", ".ogg"):
        with pytest.raises(OSError, match="No space left"):
            audio.WRITTEN[suffix](Full(), [noise], 44_100, 1, None, {})


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_what_is_written_comes_back(tmp_path: Path, suffix: str) -> None:
    if suffix == ".flac":
        with pytest.raises(ValueError, match="no samples"):
            audio.write_blocks(tmp_path / "a.flac", [], 8000, 1, 0, {})
    for count in (0, 1, 5000, 200_000)[suffix == ".flac" :]:
        sound = tones(1, count) * 3  # beyond full scale
        path = tmp_path / f"a{suffix}"
        audio.write_blocks(path, [sound[:, :77], sound[:, 77:]], 22_050, 1, None, {"title": "Nänie"})
        found, facts = audio.read(path, {})
        assert facts == {"sample_rate": 22_050} and found.shape == sound.shape
        if suffix != ".ogg":
            assert np.abs(found - np.clip(sound, -1, 1)).max(initial=0) < 1e-4
    if suffix != ".wav":
        assert audio.open_sound(path).tags["title"] == "Nänie"
    with pytest.raises(ValueError, match=r"\.wav, \.flac, \.ogg"):
        audio.check_writable("a.mp3")
    with pytest.raises(ValueError, match="more than a WAV file holds"):
        wav.header(44_100, 2, 2**32)


def test_streams_of_unknown_length() -> None:
    pipe = io.BytesIO()
    audio.stream_blocks(pipe, iter([SOUND[:, :10], SOUND[:, 10:]]), 44_100, 2, None)
    again = open_pipe(Pipe(pipe.getvalue()), "-")  # type: ignore[arg-type]
    assert again.samples is None and again.sample_rate == 44_100
    assert np.abs(np.concatenate(list(again.blocks()), 1) - SOUND).max() < 1e-4


@pytest.mark.parametrize(("package", "name"), [("soundfile", "a.flac"), ("av", "a.m4a")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    path = (
        written(tmp_path / name)
        if package == "soundfile"
        else encode_with_ffmpeg(tmp_path / name, sound=True, video=False)
    )
    real: Callable[..., Any] = builtins.__import__

    def without(wanted: str, *rest: Any, **more: Any) -> Any:
        if wanted == package:
            raise ImportError(f"No module named {package!r}")
        return real(wanted, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    extra = {"soundfile": "audio", "av": "video"}[package]
    with pytest.raises(MissingExtraError, match=rf"pip install 'isthmus\[{extra}\]'"):
        audio.read(path, {})
    wave = tmp_path / "b.wav"
    audio.write(wave, SOUND, AudioSignal(8000, 2))
    assert audio.read(wave, {})[0].shape == SOUND.shape
