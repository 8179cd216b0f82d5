# SPDX-License-Identifier: Apache-2.0
"""Whole streams from outside: written to paths, looked into, given to codecs of another kind."""

import io
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.errors import CorruptStreamError, WeightsMismatchError
from tests.codecs.walloc.audio.tiny import UNIT, tiny_codec, tones


def test_streams_of_other_kinds_and_weights_say_whose_they_are() -> None:
    image, c27 = isthmus.load("walloc-image-f8c48"), isthmus.load("walloc-audio-f256c27")
    picture, sound = image.encode(np.zeros((16, 16, 3), np.uint8)), c27.encode(tones(1, 9000), sample_rate=44100)
    for codec, data, words in (
        (image, sound, r"holds audio, walloc-image-f8c48 is a codec of kind image; .* load walloc-audio-f256c27\.r"),
        (c27, picture, r"holds image, walloc-audio-f256c27 is a codec of kind audio; .* load walloc-image-f8c48\.r"),
        (isthmus.load("walloc-audio-f256c108"), sound, r"entropy tables .* load walloc-audio-f256c27\.r"),
        (c27, tiny_codec().encode(tones(1, 99), sample_rate=44100), "load the weights it was made with"),
    ):
        for call in (codec.decode, codec.unpack, lambda data, codec=codec: list(codec.open(data))):
            with pytest.raises(WeightsMismatchError, match=words):
                call(data)
    with pytest.raises(CorruptStreamError, match=r"1 with 4 \(audio of walloc\.3\): isthmus\.decode"):
        image.unpack(c27.encode(tones(1, 200_000), sample_rate=44100))


def test_a_path_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    codec, file = tiny_codec(), io.BytesIO()
    sound = tones(2, 2 * UNIT)
    assert codec.write(sound, tmp_path / "a.ist", sample_rate=44100) == 2 * UNIT
    codec.write(sound, str(tmp_path / "b.ist"), sample_rate=44100)
    codec.write(sound, file, sample_rate=44100)
    assert (tmp_path / "a.ist").read_bytes() == (tmp_path / "b.ist").read_bytes() == file.getvalue()
    with pytest.raises(ValueError, match="announced"):
        codec.write(sound, tmp_path / "a.ist", sample_rate=44100, samples=1)
    assert (tmp_path / "a.ist").read_bytes() == file.getvalue() and len(list(tmp_path.iterdir())) == 2


def test_inspect_finds_lengths_that_headers_do_not_know() -> None:
    file = io.BytesIO()
    isthmus.load("walloc-audio-f256c27").write([tones(1, 200_000)], file, sample_rate=22050)
    for data, expected in ((file.getvalue(), 200_000), (file.getvalue()[:-600], None), (file.getvalue()[:70], None)):
        signal = isthmus.inspect(data)["signal"]
        assert signal["samples"] == expected and signal["seconds"] == (expected and round(expected / 22050, 6))


def test_sound_by_its_rate_and_paths_where_samples_belong() -> None:
    sound = tones(1, 3000)
    expected = isthmus.load("walloc-audio-f256c108").encode(sound, sample_rate=22050, quality=30)
    assert isthmus.encode(sound, sample_rate=22050, quality=30) == expected
    for name, path in (
        ("walloc-audio-f256c27", "a.flac"),
        ("walloc-image-f8c12", Path("a.png")),
        ("dfloat", "a.safetensors"),
    ):
        with pytest.raises(TypeError, match=r"got the path a\..*isthmus\.encode\(path"):
            isthmus.load(name).encode(path)
    for options in ("sample_rate", "quality", "noise"):
        assert options in (isthmus.load("walloc-audio-f256c27").encode.__doc__ or "")
    for options in ("start", "stop", "noise", "synthesis", "allow_loss", "max_samples", "output"):
        assert options in (isthmus.load("walloc-audio-f256c27").decode.__doc__ or "")
