# SPDX-License-Identifier: Apache-2.0
"""Sound, in and out, whole or block by block: WAV by ourselves, other files by libsndfile, the rest by FFmpeg."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from isthmus.errors import UnreadableFileError
from isthmus.files import atomic_file
from isthmus.media.audio import ffmpeg, sndfile, wav
from isthmus.media.audio.sound import BLOCK, RefusedError, Sound
from isthmus.options import Options
from isthmus.signatures import head_of, resembles

SUFFIXES = wav.SUFFIXES | sndfile.SUFFIXES | ffmpeg.SUFFIXES
WRITTEN = {".wav": wav.write_blocks} | {s: partial(sndfile.write_blocks, s) for s in sndfile.FORMATS}
ReadOptions = Options  # none


def open_sound(path: str | os.PathLike[str]) -> Sound:
    """What a file holds, whose `blocks` are read when they are asked for.

    Raises UnreadableFileError for a file that is no sound or damaged, MissingExtraError where a package is missing.
    """
    head = head_of(path)
    if not head:
        wav.check_there(path)
    if wav.is_wav(head):
        return wav.open_wav(path)
    if sndfile.knows(head) or (Path(path).suffix.lower() in sndfile.SUFFIXES and not ffmpeg.knows(head)):
        return sndfile.open_sndfile(path)
    if ffmpeg.knows(head):
        return ffmpeg.open_ffmpeg(path)
    raise UnreadableFileError(f"{path}: no sound that this version reads: {resembles(head) if head else 'empty'}")


def read(path: str | os.PathLike[str], options: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """As `media.kinds.read`: float32 [C, T], full scale 1, and `sample_rate` in Hz."""
    sound = open_sound(path)
    blocks = list(sound.blocks())
    samples = np.concatenate(blocks, 1) if blocks else np.zeros((sound.channels, 0), np.float32)
    return samples, {"sample_rate": sound.sample_rate}


def write(path: str | os.PathLike[str], samples: np.ndarray, signal: Any) -> None:
    """As `media.kinds.write`: float32 [C, T], full scale 1, as 16-bit words; what lies beyond is clipped."""
    cut = (samples[:, i : i + BLOCK] for i in range(0, samples.shape[1], BLOCK))
    write_blocks(path, cut, signal.sample_rate, len(samples), samples.shape[1], {})


def write_blocks(
    path: str | os.PathLike[str],
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    samples: int | None,
    tags: dict[str, str],
) -> None:
    """Blocks float32 [C, n] to a file, all of it or nothing, in the format that the suffix tells."""
    check_writable(path)
    with atomic_file(path) as file:
        write_to(file, path, blocks, sample_rate, channels, samples, tags)


def write_to(
    file: BinaryIO,
    path: str | os.PathLike[str],
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    samples: int | None,
    tags: dict[str, str],
) -> None:
    """The same to a file that is open, and called `path`. Raises ValueError for what the format does not take."""
    try:
        WRITTEN[Path(path).suffix.lower()](file, blocks, sample_rate, channels, samples, tags)
    except RefusedError as error:
        raise ValueError(f"{path}: {error}") from error


def stream_blocks(
    pipe: BinaryIO, blocks: Iterable[np.ndarray], sample_rate: int, channels: int, samples: int | None
) -> None:
    """Blocks to a pipe as WAV, while they come; where `samples` is None its header says that the length is unknown."""
    wav.stream_blocks(pipe, blocks, sample_rate, channels, samples)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises ValueError for a suffix that no writer knows, MissingExtraError for one whose writer is missing."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITTEN:
        raise ValueError(f"{path}: sound is written as {', '.join(WRITTEN)}; got the suffix {Path(path).suffix!r}")
    if suffix != ".wav":
        sndfile.library(path)
