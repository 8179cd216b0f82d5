# SPDX-License-Identifier: Apache-2.0
"""Sound to a data set."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.datasets import transcode
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.storage import Place
from tests.datasets.test_transcode import files, rows


def test_sound(tmp_path: Path) -> None:
    from isthmus.media.audio import write
    from isthmus.signals import AudioSignal

    (tmp_path / "songs").mkdir()
    sounds = {}
    for number, length in enumerate((0, 1, 300, 9000)):
        sounds[f"{number}.wav"] = (np.sin(np.arange(length) / 7)[None] / 2).astype(np.float32)
        write(tmp_path / "songs" / f"{number}.wav", sounds[f"{number}.wav"], AudioSignal(8000, 1, length))
    (tmp_path / "songs" / "cover.jpg").write_bytes(b"left alone")
    report = transcode(
        tmp_path / "songs", tmp_path / "latents", codec="walloc-audio-f256c27", workers=0, progress=False
    )
    there = rows(tmp_path / "latents")
    assert report.losses == [("0.wav", "no samples")] and [row["samples"] for row in there] == [1, 300, 9000]
    assert all(row["sample_rate"] == 8000 and "label" not in row for row in there)
    assert isthmus.decode(there[2]["payload"]).shape == (1, 9000)
    planes = Manifest.read(Place(tmp_path / "latents")).planes
    assert planes["y"]["step"] and len(planes["noise"]["mean"]) == len(planes["noise"]["step"])
    write(tmp_path / "songs" / "stereo.wav", np.zeros((2, 500), np.float32), AudioSignal(8000, 2, 500))
    transcode(tmp_path / "songs", tmp_path / "latents", codec="walloc-audio-f256c27", workers=0, progress=False)
    planes = Manifest.read(Place(tmp_path / "latents")).planes
    assert planes["y"]["step"] and len(planes["y"]["mean"]) == 27


def test_long_sound_is_encoded_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.datasets import rows as module
    from isthmus.samples import SPEECH

    (tmp_path / "songs").mkdir()
    shutil.copy(SPEECH, tmp_path / "songs")
    given = {"codec": "walloc-audio-f256c27", "workers": 0, "progress": False}
    transcode(tmp_path / "songs", tmp_path / "whole", **given)
    monkeypatch.setattr(module, "WHOLE", 1000)
    transcode(tmp_path / "songs", tmp_path / "blocks", **given)
    assert files(tmp_path / "whole") == files(tmp_path / "blocks")
