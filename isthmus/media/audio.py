# SPDX-License-Identifier: Apache-2.0
"""Sound: WAV files in and out, by the standard library."""

import os
import wave
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import UnreadableFileError
from isthmus.files import atomic_file
from isthmus.options import Options
from isthmus.signatures import head_of, resembles

SUFFIXES = frozenset({".wav"})
ReadOptions = Options  # none


def read(path: str | os.PathLike[str], options: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """As `media.kinds.read`: float32 [C, T] in -1..1, and `sample_rate` in Hz. PCM of 8, 16, 24 or 32 bits."""
    try:
        with open(path, "rb") as opened, wave.open(opened) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            told, frames = file.getnframes(), file.readframes(file.getnframes())
    except FileNotFoundError as error:
        raise UnreadableFileError(f"{path}: no such file") from error
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (wave.Error, EOFError, ValueError) as error:
        head = head_of(path)
        what = "damaged or not of integer samples" if head[8:12] == b"WAVE" else resembles(head) if head else "empty"
        raise UnreadableFileError(f"{path}: not a WAV file: {what} ({error}); convert it to PCM first") from error
    if width > 4 or rate < 1:
        raise UnreadableFileError(f"{path}: {8 * width} bits at {rate} Hz, expected 8 to 32 bits at 1 Hz or more")
    count = len(frames) // (width * channels)
    if count < told:
        raise UnreadableFileError(f"{path}: truncated: {count} of {told} samples are there; fetch the file again")
    raw = np.frombuffer(frames, np.uint8, count * width * channels).reshape(-1, width)
    if width == 1:  # the one width without a sign
        samples = (raw[:, 0].astype(np.float32) - 128) / 128
    else:
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - width :] = raw
        samples = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    return np.ascontiguousarray(samples.reshape(count, channels).T), {"sample_rate": rate}


def write(path: str | os.PathLike[str], samples: np.ndarray, signal: Any) -> None:
    """As `media.kinds.write`: float32 [C, T] in -1..1 as 16-bit PCM; what lies beyond is clipped."""
    words = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    with atomic_file(path) as opened, wave.open(opened, "wb") as file:
        file.setnchannels(len(words))
        file.setsampwidth(2)
        file.setframerate(signal.sample_rate)
        file.writeframes(np.ascontiguousarray(words.T).tobytes())


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises ValueError unless `path` ends in .wav."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: sound is written as .wav; got the suffix {Path(path).suffix!r}")
