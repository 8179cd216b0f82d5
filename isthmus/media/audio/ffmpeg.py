# SPDX-License-Identifier: Apache-2.0
"""The sound of MP4, M4A, WebM and other files that need FFmpeg, by the package av (extra `video`)."""

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from isthmus.errors import MissingExtraError, UnreadableFileError
from isthmus.media.audio.sound import Sound
from isthmus.signatures import mpeg_sound

SUFFIXES = frozenset({".m4a", ".aac", ".wma", ".mka"})
_HEADS = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (8, b"AVI "), (0, b"\x30\x26\xb2\x75"))


def knows(head: bytes) -> bool:
    return any(head.startswith(magic, offset) for offset, magic in _HEADS) or mpeg_sound(head) == "aac"


def library(path: Any) -> Any:
    """The package. Raises MissingExtraError."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: the sound of this file needs the package av: pip install 'isthmus[video]' ({error})"
        ) from error
    return av


def open_ffmpeg(path: str | os.PathLike[str]) -> Sound:
    """The first sound of a file that FFmpeg reads. Raises UnreadableFileError, MissingExtraError."""
    av = library(path)
    try:
        with av.open(os.fspath(path)) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                raise UnreadableFileError(f"{path}: no sound in this file")
            only = len(container.streams) == 1  # of a video the sound may end before the pictures
            rate, channels = stream.rate, stream.codec_context.channels
            seconds = None if container.duration is None else container.duration / 1e6
            tags = {k.lower(): v for k, v in container.metadata.items() if isinstance(v, str)}
    except av.FFmpegError as error:
        raise UnreadableFileError(f"{path}: cannot be read ({error}); fetch it again, or convert it") from error
    if not rate or not channels:
        raise UnreadableFileError(f"{path}: its sound has {channels} channels at {rate} Hz: the file is damaged")

    def blocks() -> Iterator[np.ndarray]:
        given = 0
        try:
            with av.open(os.fspath(path)) as container:
                resampler = av.AudioResampler(format="fltp")
                for frame in chain(container.decode(audio=0), [None]):
                    for part in resampler.resample(frame):
                        given += part.samples
                        yield np.ascontiguousarray(part.to_ndarray(), np.float32)
        except av.FFmpegError as error:
            raise UnreadableFileError(f"{path}: damaged ({error}); fetch it again") from error

        if only and seconds is not None and given < 0.95 * seconds * rate - rate / 5:
            told = f"{given / rate:.2f} of {seconds:.2f} s are there"
            raise UnreadableFileError(f"{path}: truncated: {told}; fetch the file again")

    return Sound(rate, channels, None, blocks, {k: tags[k] for k in ("title", "artist", "album", "date") if k in tags})
