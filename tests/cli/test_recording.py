# SPDX-License-Identifier: Apache-2.0
"""Recordings that are stopped: what had come is a whole stream, and the exit status says that it was stopped."""

import io
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.media.audio import wav
from tests.codecs.walloc.audio.tiny import tones

RATE = 44_100
COMMAND = [sys.executable, "-m", "isthmus", "encode", "-", "talk.ist", "--codec", "walloc-audio-f256c27"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def stopped(folder: Path, number: int, announced: int | None, data: bytes) -> tuple[int, list[bytes]]:
    """Status and messages of an encoder of WAV that is stopped when `data` have come and more are awaited."""
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(wav.header(RATE, 2, announced) + data)
        process.stdin.flush()  # more than a pipe holds: samples are being read
        process.send_signal(number)
        told = process.stderr.read().splitlines()
        process.stdin.close()
    return process.returncode, [line for line in told if b"compiling" not in line]


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_recording_that_is_stopped_is_whole(name: str, tmp_path: Path) -> None:
    number, words = getattr(signal, name), wav.words(tones(2, 4 * RATE))
    status, told = stopped(tmp_path, number, None, words.tobytes())
    assert status == 128 + number and told == [b"isthmus: stopped; talk.ist holds the 4.0 s that had come"]
    whole = io.BytesIO()
    isthmus.load(COMMAND[-1]).write(words.T / np.float32(32768), whole, sample_rate=RATE)
    assert (tmp_path / "talk.ist").read_bytes() == whole.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ["talk.ist"]


@posix
def test_what_has_a_known_length_and_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    data = wav.words(tones(2, 4 * RATE)).tobytes()
    assert stopped(tmp_path, signal.SIGINT, 5 * RATE, data) == (130, [b"isthmus: stopped"])
    assert not list(tmp_path.iterdir())


TWICE = """
import os, signal
from isthmus.cli.stopping import stop_as_interrupts_do, stopped_status, told_first
stop_as_interrupts_do()
with told_first(lambda: print("told")):
    os.kill(os.getpid(), signal.SIGTERM)
    print(stopped_status())
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        print("stopped")
"""


@posix
def test_the_second_signal_stops_at_once() -> None:
    found = subprocess.check_output([sys.executable, "-c", TWICE], timeout=60)
    assert found.split() == [b"told", b"143", b"stopped"]
