# SPDX-License-Identifier: Apache-2.0
"""WAV: RIFF with PCM of 8 to 32 bits or floats of 32 or 64; read from files and pipes, written as 16-bit PCM.

Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft, 1991); extensible formats as in
Microsoft's "Multiple channel audio data and WAVE files".
"""

import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from isthmus.errors import UnreadableFileError
from isthmus.media.audio.sound import BLOCK, RefusedError, Sound

SUFFIXES = frozenset({".wav"})
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN = 0xFFFFFFFF  # a length, from writers that could not go back
HARDLY = 0x7FFFF000  # lengths from here on are what recorders tell a pipe: an end before them is none of damage
LARGEST = UNKNOWN - 64  # bytes of samples that a RIFF file can hold
PIECE = 1 << 16
MEND = "fetch the file again, or let FFmpeg keep what there is: ffmpeg -i IN.wav OUT.wav"
OF_A_PIPE = 1 << 14  # samples of a block: 0.4 s, so that what is recorded is soon written


def is_wav(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE"


def check_there(path: str | os.PathLike[str]) -> None:
    """Raises UnreadableFileError unless a file can be read."""
    try:
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise UnreadableFileError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


@dataclass(frozen=True)
class Format:
    """code: PCM or FLOAT; width: bytes of a sample; size: bytes of all samples, None if unknown."""

    code: int
    channels: int
    sample_rate: int
    width: int
    size: int | None

    @property
    def samples(self) -> int | None:
        unknown = self.size is None or self.size >= HARDLY
        return None if unknown else self.size // (self.width * self.channels)  # type: ignore[operator]

    @property
    def most(self) -> int | None:
        """Samples that may follow."""
        return None if self.size is None else self.size // (self.width * self.channels)


def _exactly(file: BinaryIO, count: int, name: str) -> bytes:
    found = _up_to(file, count)
    if len(found) < count:
        raise UnreadableFileError(f"{name}: the WAV header is cut after {len(found)} of {count} bytes; fetch it again")
    return found


def read_format(file: BinaryIO, name: str) -> Format:
    """Reads up to the first sample. Raises UnreadableFileError."""
    riff = _exactly(file, 12, name)
    if not is_wav(riff):
        raise UnreadableFileError(f"{name}: not a WAV file")
    at, whole = 12, int.from_bytes(riff[4:8], "little") + 8
    described: tuple[int, int, int, int] | None = None
    while True:
        kind, size = struct.unpack("<4sI", _exactly(file, 8, name))
        at += 8
        if kind == b"data":
            break
        if kind == b"fmt " and 16 <= size <= PIECE:
            body = _exactly(file, size + size % 2, name)
            code, channels, rate, _, block, bits = struct.unpack("<HHIIHH", body[:16])
            if code == EXTENSIBLE and size >= 40:
                code = struct.unpack("<H", body[24:26])[0]
            described = code, channels, rate, block // channels if channels else 0
            if channels and block % channels:
                raise UnreadableFileError(f"{name}: {block} bytes for {channels} channels; convert it to PCM first")
            if channels and not 8 * (described[3] - 1) < bits <= 8 * described[3]:
                told = f"{bits} bits in {described[3]} bytes a sample"
                raise UnreadableFileError(f"{name}: {told}; convert it to PCM first")
        else:
            left = size + size % 2
            while left:
                left -= len(_exactly(file, min(PIECE, left), name))
        at += size + size % 2
    if described is None:
        raise UnreadableFileError(f"{name}: samples come before their format; the file is damaged")
    code, channels, rate, width = described
    known = (code == PCM and 1 <= width <= 4) or (code == FLOAT and width in (4, 8))
    if not known or not channels or not rate:
        raise UnreadableFileError(
            f"{name}: format {code}, {channels} channels of {8 * width} bits at {rate} Hz; expected PCM of 8 to 32 "
            "bits or floats of 32 or 64: convert it to PCM first"
        )
    unknown = size in (0, UNKNOWN) or size > LARGEST
    if unknown and at <= whole < HARDLY:  # the whole file's length is known: other chunks may follow
        size, unknown = (whole - at if size else 0), False
    return Format(code, channels, rate, width, None if unknown else size)


def blocks_of(file: BinaryIO, form: Format, name: str, block: int = BLOCK) -> Iterator[np.ndarray]:
    """Samples float32 [C, n], n at most `block`, from a file or pipe whose header is read.

    Raises UnreadableFileError where it is cut.
    """
    frame = form.width * form.channels
    left, given = form.most, 0
    rest = 0 if form.samples is None or form.size is None else form.size % frame  # bytes behind the last whole sample
    while left is None or left > 0:
        want = block if left is None else min(block, left)
        data = _up_to(file, want * frame)
        count = len(data) // frame
        given += count
        left = None if left is None else left - count
        if count:
            yield _floats(data[: count * frame], form)
        if count < want:
            if form.samples is not None:
                told = f"truncated: {given} of {form.samples} samples are there"
                raise UnreadableFileError(f"{name}: {told}; {MEND}")
            rest = len(data) % frame
            break
    if rest:
        warnings.warn(
            f"{name}: ends within a sample: its last {rest} of {frame} bytes are left out; the file may be truncated",
            stacklevel=2,
        )


def _up_to(file: BinaryIO, count: int) -> bytes:
    """So many bytes, fewer at the end only: a pipe may give less at once."""
    pieces: list[bytes] = []
    while count:
        piece = file.read(count)
        if not piece:
            break
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _floats(data: bytes, form: Format) -> np.ndarray:
    values: np.ndarray
    if form.code == FLOAT:
        with np.errstate(over="ignore"):
            values = np.frombuffer(data, f"<f{form.width}").astype(np.float32)
    elif form.width == 1:  # the one width without a sign
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif form.width == 2:
        values = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
    else:
        raw = np.frombuffer(data, np.uint8).reshape(-1, form.width)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - form.width :] = raw
        values = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    return np.ascontiguousarray(values.reshape(-1, form.channels).T)


def open_wav(path: str | os.PathLike[str]) -> Sound:
    """A WAV file. Raises UnreadableFileError."""
    check_there(path)
    with open(path, "rb") as file:
        form = read_format(file, str(path))
        begin = file.tell()
        there = os.path.getsize(path) - begin
        if form.samples is not None and form.size is not None and form.size > there:
            count = there // (form.width * form.channels)
            raise UnreadableFileError(f"{path}: truncated: {count} of {form.samples} samples are there; {MEND}")

        told = there if form.size is None else form.size
        file.seek(told + told % 2, os.SEEK_CUR)
        if there - told > told and not file.read(4).strip().isalnum():  # a recorder died before it wrote the length
            warnings.warn(
                f"{path}: its header tells of {told} bytes of samples, {there} are there; {MEND}", stacklevel=2
            )

    def blocks() -> Iterator[np.ndarray]:
        with open(path, "rb") as opened:
            opened.seek(begin)
            yield from blocks_of(opened, form, str(path))

    samples = form.samples
    if samples is None:
        samples = min(there, there if form.size is None else form.size) // (form.width * form.channels)
    return Sound(form.sample_rate, form.channels, samples, blocks)


def open_pipe(pipe: BinaryIO, name: str) -> Sound:
    """WAV that arrives through a pipe. Raises UnreadableFileError."""
    form = read_format(pipe, name)
    return Sound(form.sample_rate, form.channels, form.samples, lambda: blocks_of(pipe, form, name, OF_A_PIPE))


def header(sample_rate: int, channels: int, samples: int | None) -> bytes:
    """The 44 bytes before 16-bit samples."""
    size = UNKNOWN if samples is None else samples * channels * 2
    if samples is not None and size > LARGEST:
        raise RefusedError(f"{samples} samples of {channels} channels are more than a WAV file holds: write .flac")
    whole = UNKNOWN if samples is None else size + 36
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", whole, b"WAVE", b"fmt ", 16, PCM, channels, sample_rate,
        sample_rate * channels * 2, channels * 2, 16, b"data", size,
    )  # fmt: skip


def words(block: np.ndarray) -> np.ndarray:
    """float32 [C, n] as 16-bit words [n, C]; what lies beyond full scale is clipped."""
    return np.ascontiguousarray(np.clip(np.rint(block.T * np.float32(32768)), -32768, 32767).astype("<i2"))


def write_blocks(
    file: BinaryIO, blocks: Iterable[np.ndarray], rate: int, channels: int, samples: int | None, tags: dict[str, str]
) -> None:
    """Blocks to a file that can be gone back in: its header tells the length, whether it was known or not."""
    file.write(header(rate, channels, samples))
    given = 0
    for block in blocks:
        file.write(words(block).tobytes())
        given += block.shape[1]
    if given != samples:
        file.seek(0)
        file.write(header(rate, channels, given))
        file.seek(0, os.SEEK_END)


def stream_blocks(pipe: BinaryIO, blocks: Iterable[np.ndarray], rate: int, channels: int, samples: int | None) -> None:
    """Blocks to a pipe, each as soon as it is there."""
    pipe.write(header(rate, channels, samples))
    for block in blocks:
        pipe.write(words(block).tobytes())
        pipe.flush()
