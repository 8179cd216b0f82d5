# SPDX-License-Identifier: Apache-2.0
"""FLAC, Ogg (Vorbis, Opus), MP3, AIFF and more, by libsndfile through the package soundfile (extra `audio`)."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from isthmus.errors import MissingExtraError, UnreadableFileError
from isthmus.media.audio.sound import BLOCK, RefusedError, Sound
from isthmus.signatures import head_of, mpeg_sound, resembles

SUFFIXES = frozenset({".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64"})
FASTEST = {"FLAC": 655_350, "OGG": 192_000}  # Hz; the Vorbis encoder does not survive more
FORMATS = {".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
LARGEST_PAGE = 27 + 255 + 255 * 255
LITTLE = 1 << 10
PIECE = 1 << 15  # samples given to libsndfile at once: its Vorbis encoder overflows the stack with many more
TAGS = ("title", "artist", "album", "date", "genre", "comment", "tracknumber", "copyright", "software", "license")
_HEADS = (b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b"riff", b"RF64", b".snd")


class Guarded:
    """A file that libsndfile writes to through callbacks, which cannot raise: its first error is kept for `check`."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """All of it, or nothing more after an error."""
        if self.error is None:
            try:
                return self.file.write(data)
            except OSError as error:
                self.error = error
        return 0

    def read(self, count: int = -1) -> bytes:
        return self.file.read(count)

    def seek(self, place: int, whence: int = 0) -> int:
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()

    def check(self) -> None:
        """Raises what went wrong."""
        if self.error is not None:
            raise self.error


def knows(head: bytes) -> bool:
    return head.startswith(_HEADS) or mpeg_sound(head) == "mp3"


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
            rate, channels, frames, form = file.samplerate, file.channels, file.frames, file.format
    except (soundfile.SoundFileError, RuntimeError, TypeError, OSError) as error:
        raise UnreadableFileError(f"{path}: not a sound file{_why(path, error)}") from error
    head = head_of(path)
    if head.startswith(b"OggS") and not ogg_ends(path):
        there = f"about {frames / rate:.2f} s are there" if 0 < frames < 2**48 else "its last page is not there"
        raise UnreadableFileError(f"{path}: truncated: {there}; {_mend(path)}")
    guessed = form == "MP3" and not _has_length(path)
    known = frames if 0 <= frames < 2**48 and not guessed else None

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
            of = "" if known is None else f" of {known}"
            whole = f"{_readable(soundfile, path, given)}{of} samples are there"
            told = str(error).removeprefix("Error : ").rstrip(".")
            raise UnreadableFileError(f"{path}: truncated or damaged: {whole} ({told}); {_mend(path)}") from error
        if known is not None and given < known:
            raise UnreadableFileError(f"{path}: truncated: {given} of {known} samples are there; {_mend(path)}")

    return Sound(rate, channels, known, blocks, tags)


def _readable(soundfile: Any, path: str | os.PathLike[str], given: int) -> int:
    """How many samples come before a fault behind the first `given`; what is read with it is lost, so a little."""
    there = 0
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            while there < given + BLOCK and (count := len(file.read(LITTLE, dtype="float32"))):
                there += count
    except (soundfile.SoundFileError, RuntimeError):
        pass
    return max(there, given)


def _why(path: str | os.PathLike[str], error: Exception) -> str:
    """What a file that cannot be opened looks like, and what libsndfile says where that tells more."""
    told, guess = resembles(head_of(path)), str(error).rpartition(": ")[2].rstrip(".")
    damaged = " and is damaged" if "recording" in told else ""
    known = f" ({guess})" if guess and "possibly a pipe" not in guess else ""
    return f": {told}{damaged}{known}"


def _mend(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix or ".flac"
    return f"fetch the file again, or let FFmpeg keep what there is: ffmpeg -i IN{suffix} OUT.wav"


def ogg_ends(path: str | os.PathLike[str]) -> bool:
    """Whether the last page of an Ogg file is whole and marked as the last (RFC 3533, section 6)."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LARGEST_PAGE))
        tail = file.read()
    place = tail.rfind(b"OggS")
    if place < 0 or len(tail) < place + 27:
        return False
    segments = tail[place + 26]
    lengths = tail[place + 27 : place + 27 + segments]
    return bool(tail[place + 5] & 4) and len(tail) >= place + 27 + segments + sum(lengths)


def _has_length(path: str | os.PathLike[str]) -> bool:
    """Whether an MP3 file says how long it is, in the frame that encoders put first."""
    with open(path, "rb") as file:
        if file.read(3) == b"ID3":  # sizes in seven bits a byte
            size = file.read(7)[3:]
            file.seek(10 + sum(byte << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=False)))
        else:
            file.seek(0)
        first = file.read(256)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))


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
    if rate > FASTEST[form]:
        raise RefusedError(f"{form} is written at up to {FASTEST[form]} Hz, this sound has {rate}: write .wav")
    soundfile, guarded = library(suffix), Guarded(file)
    try:
        with soundfile.SoundFile(guarded, "w", rate, channels, format=form, subtype=subtype) as target:
            for key in TAGS:
                if key in tags:
                    setattr(target, key, tags[key])
            for block in blocks:
                given += block.shape[1]
                clipped = np.clip(block, -1, np.float32(32767 / 32768)).T
                for start in range(0, len(clipped), PIECE):
                    target.write(np.ascontiguousarray(clipped[start : start + PIECE]))
                    guarded.check()
    except (soundfile.SoundFileError, AssertionError) as error:
        guarded.check()
        raise RefusedError(f"{form} takes no such sound ({error}): write .wav") from error
    guarded.check()
    if not given and form == "FLAC":
        raise RefusedError("a sound of no samples cannot be written as FLAC: write .wav")
