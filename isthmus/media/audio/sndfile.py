# SPDX-License-Identifier: Apache-2.0
"""FLAC, Ogg (Vorbis, Opus), MP3, AIFF and more, by libsndfile through the package soundfile (extra `audio`)."""

import os
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from isthmus.errors import MissingExtraError, UnreadableFileError
from isthmus.media.audio.sound import BLOCK, Sound
from isthmus.signatures import head_of, resembles

SUFFIXES = frozenset({".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64"})
FORMATS = {".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
PIECE = 1 << 15  # samples given to libsndfile at once: its Vorbis encoder overflows the stack with many more
TAGS = ("title", "artist", "album", "date", "genre", "comment", "tracknumber", "copyright", "software", "license")
_HEADS = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"FORM", b"caff", b"riff", b"RF64", b".snd")


def knows(head: bytes) -> bool:
    return head.startswith(_HEADS)


def library(path: Any) -> Any:
    """The package. Raises MissingExtraError."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise MissingExtraError(
            f"{path}: this format needs the package soundfile: pip install 'isthmus[audio]' ({error})"
        ) from error
    return soundfile


def open_sndfile(path: str | os.PathLike[str]) -> Sound:
    """A file that libsndfile reads. Raises UnreadableFileError, MissingExtraError."""
    soundfile = library(path)
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            tags = {k: v for k, v in file.copy_metadata().items() if v and k in TAGS}
            rate, channels, frames = file.samplerate, file.channels, file.frames
    except (soundfile.SoundFileError, RuntimeError, TypeError, OSError) as error:
        raise UnreadableFileError(f"{path}: not a sound file: {resembles(head_of(path))} ({error})") from error
    known = frames if 0 <= frames < 2**48 else None

    def blocks() -> Iterator[np.ndarray]:
        given = 0
        try:
            with soundfile.SoundFile(os.fspath(path)) as file:
                while True:
                    block = file.read(BLOCK, dtype="float32", always_2d=True)
                    if not len(block):
                        break
                    given += len(block)
                    yield np.ascontiguousarray(block.T)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise UnreadableFileError(
                f"{path}: damaged after {given} of {known} samples ({error}); fetch it again"
            ) from error
        if known is not None and given < known:
            raise UnreadableFileError(f"{path}: truncated: {given} of {known} samples are there; fetch the file again")

    return Sound(rate, channels, known, blocks, tags)


def write_blocks(
    suffix: str,
    file: BinaryIO,
    blocks: Iterable[np.ndarray],
    rate: int,
    channels: int,
    samples: int | None,
    tags: dict[str, str],
) -> None:
    """Blocks in the format of a suffix of FORMATS."""
    form, subtype = FORMATS[suffix]
    given = 0
    soundfile = library(suffix)
    with soundfile.SoundFile(file, "w", rate, channels, format=form, subtype=subtype) as target:
        for key in TAGS:
            if key in tags:
                setattr(target, key, tags[key])
        for block in blocks:
            given += block.shape[1]
            clipped = np.clip(block, -1, np.float32(32767 / 32768)).T
            for start in range(0, len(clipped), PIECE):
                target.write(np.ascontiguousarray(clipped[start : start + PIECE]))
    if not given and form == "FLAC":
        raise ValueError("a sound of no samples cannot be written as FLAC: write .wav")
