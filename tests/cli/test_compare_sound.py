# SPDX-License-Identifier: Apache-2.0
"""`isthmus compare` of sound: parts of it, what is kept, what is missing, in bounded memory."""

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.cli import compare
from isthmus.media import audio
from isthmus.samples import ASTRONAUT, SPEECH
from isthmus.signals import AudioSignal
from tests.cli.test_main import Run
from tests.cli.test_pipes import ISTHMUS, shell
from tests.codecs.walloc.audio.tiny import tones

C27 = ("--codec", "walloc-audio-f256c27")


def test_what_was_decoded_is_kept(run: Run, tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", tones(1, 9000), AudioSignal(8000, 1))
    status, out, err = run("compare", tmp_path / "a.wav", "--out", tmp_path / "look.png", "--keep", *C27)
    assert status == 0 and "mp3" in out and "opus" in out and "quality=50" in out
    kept = {path.name for path in tmp_path.glob("look.*.wav")}
    assert kept == {"look.original.wav", "look.walloc-audio-f256c27.wav", "look.mp3.wav", "look.opus.wav"}
    assert (tmp_path / "look.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "look.original.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    assert audio.open_sound(tmp_path / "look.mp3.wav").sample_rate == 48_000 and out.count("at 48000 Hz, as") == 3


def test_parts(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, facts = audio.read(SPEECH, {})
    rate = facts["sample_rate"]
    found, same = compare._part_of(SPEECH, 1.0, 1.5)
    assert same == rate and np.array_equal(found, sound[:, rate : rate + round(0.5 * rate)])
    assert np.array_equal(compare._part_of(SPEECH, 0.0, None)[0], sound)
    out = tmp_path / "look.png"
    status, told, err = run("compare", SPEECH, "--out", out, "--from", "0:01", "--to", "1500ms", *C27)
    assert status == 0 and "warning" not in err and out.is_file()
    monkeypatch.setattr(compare, "LONGEST", 1)
    found, _ = compare._part_of(SPEECH, 0.5, None)
    assert found.shape[1] == rate
    status, told, err = run("compare", SPEECH, "--out", out, *C27)
    assert status == 0 and "minutes are compared" in err and "--from" in err
    for wrong, words in (
        ("--from 2 --to 1", "end behind"),
        ("--from 1:00:00", "the sound ends at"),
        ("--to x", "no time"),
    ):
        status, told, err = run("compare", SPEECH, "--out", out, *wrong.split(), *C27)
        assert status == 2 and words in err
    status, told, err = run("compare", ASTRONAUT, "--out", out, "--from", "1")
    assert status == 2 and "--from is for sound" in err


def test_peers_that_are_missing_are_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without(wanted: str, *rest: Any, **more: Any) -> Any:
        if wanted == "av":
            raise ImportError("No module named 'av'")
        return real(wanted, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    status, out, err = run("compare", SPEECH, "--out", tmp_path / "look.png", "--to", "1", *C27)
    assert status == 0 and "mp3" not in out and "isthmus[video]" in err


def test_a_picture_through_a_pipe(tmp_path: Path) -> None:
    done = shell(f"{ISTHMUS} compare {SPEECH} --to 1 --out - {' '.join(C27)} > look.png", tmp_path)
    assert done.returncode == 0 and b"kbit/s" in done.stderr, done.stderr
    assert (tmp_path / "look.png").read_bytes()[:4] == b"\x89PNG"
