# SPDX-License-Identifier: Apache-2.0
"""What a track carries: signal specs, as frozen dataclasses and as bytes.

The bytes are those of docs/format.md, "Track header"; `bitstream.track` has the header around them.
Constructors raise `ValueError` or `TypeError` for values outside the format's limits; `unpack` raises
`CorruptStreamError` for the same values met in a stream.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import gcd
from operator import index
from typing import Any, ClassVar

from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike, pack_varint, unpack_varint

SIDE_LIMIT = 2**20
AREA_LIMIT = 2**30
COUNT_LIMIT = 2**48  # samples or frames
RATE_LIMIT = 2**31 - 1
SAMPLE_RATE_LIMIT = 2**24
LAYOUTS = ("grey", "grey_alpha", "rgb", "rgba")  # codes 1 to 4 and as many channels
_IMAGE, _AUDIO, _VIDEO, _TENSORS = 1, 2, 3, 4


def _bound(owner: object, name: str, low: int, high: int) -> None:
    """Store the field as an int (numpy integers too, no floats or bools), refusing values outside `low` to `high`."""
    given = getattr(owner, name)
    try:
        value = index(given)
    except TypeError:
        value = None
    if value is None or isinstance(given, bool):
        raise TypeError(f"{name} is {given!r}, must be an integer from {low} to {high}")
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, must be {low} to {high}")
    object.__setattr__(owner, name, value)


def _bound_count(owner: object, name: str) -> None:
    if getattr(owner, name) is not None:
        _bound(owner, name, 0, COUNT_LIMIT)


def _pack_count(count: int | None) -> bytes:
    return pack_varint(0 if count is None else count + 1)


def _unpack_count(data: BytesLike, offset: int) -> tuple[int | None, int]:
    count, offset = unpack_varint(data, offset)
    return count - 1 if count else None, offset


@dataclass(frozen=True)
class _Picture:
    """What images and videos share: `height` and `width` in pixels before padding, `layout`, `bit_depth` 1 to 16."""

    height: int
    width: int
    layout: str = "rgb"
    bit_depth: int = 8

    def __post_init__(self) -> None:
        _bound(self, "height", 1, SIDE_LIMIT)
        _bound(self, "width", 1, SIDE_LIMIT)
        _bound(self, "bit_depth", 1, 16)
        if self.height * self.width > AREA_LIMIT:
            raise ValueError(f"{self.height}x{self.width} pixels are more than {AREA_LIMIT}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout is {self.layout!r}, must be one of {', '.join(LAYOUTS)}")

    @property
    def channels(self) -> int:
        return LAYOUTS.index(self.layout) + 1

    def _pack_as(self, kind: int) -> bytes:
        form = (self.bit_depth - 1) << 4 | self.channels
        return bytes([kind, form]) + pack_varint(self.height) + pack_varint(self.width)


@dataclass(frozen=True)
class ImageSignal(_Picture):
    """One picture: `height` and `width` in pixels before padding, `layout` of `LAYOUTS`, `bit_depth` 1 to 16."""

    def pack(self) -> bytes:
        return self._pack_as(_IMAGE)

    def describe(self) -> dict[str, Any]:
        return {"kind": "image", **asdict(self)}

    unit: ClassVar[str] = "bits per pixel"

    def rate(self, size: int, samples: Any = None) -> float:
        """Bits per pixel of a stream of `size` bytes."""
        return 8 * size / (self.height * self.width)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class AudioSignal:
    """Sound: `sample_rate` in Hz, `channels` 1 to 255, `samples` per channel (`None`: not known when writing began)."""

    sample_rate: int
    channels: int
    samples: int | None = None

    def __post_init__(self) -> None:
        _bound(self, "sample_rate", 1, SAMPLE_RATE_LIMIT)
        _bound(self, "channels", 1, 255)
        _bound_count(self, "samples")

    def pack(self) -> bytes:
        return bytes([_AUDIO]) + pack_varint(self.sample_rate) + bytes([self.channels]) + _pack_count(self.samples)

    def describe(self) -> dict[str, Any]:
        seconds = None if self.samples is None else round(self.samples / self.sample_rate, 6)
        return {"kind": "audio", **asdict(self), "seconds": seconds}

    unit: ClassVar[str] = "kbit/s"

    def rate(self, size: int, samples: Any = None) -> float | None:
        """kbit/s of a stream of `size` bytes; None where the length is 0 or not known."""
        return 8e-3 * size * self.sample_rate / self.samples if self.samples else None

    def __str__(self) -> str:
        seconds = (self.samples or 0) / self.sample_rate
        length = (
            ""
            if self.samples is None
            else f"{seconds:.2f} s, "
            if seconds >= 0.01
            else f"{self.samples} sample{'s' * (self.samples != 1)}, "
        )
        return f"{length}{self.sample_rate} Hz, {self.channels} channel{'s' * (self.channels > 1)}"


@dataclass(frozen=True)
class VideoSignal(_Picture):
    """Pictures in time: as `ImageSignal`, `frame_rate` per second, `frames` (`None`: not known when writing began)."""

    frame_rate: Fraction = Fraction(30)
    frames: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.frame_rate, Fraction | int):
            raise TypeError(f"frame_rate is a {type(self.frame_rate).__name__}, must be a Fraction or an int")
        object.__setattr__(self, "frame_rate", Fraction(self.frame_rate))
        if not (1 <= self.frame_rate.numerator <= RATE_LIMIT and self.frame_rate.denominator <= RATE_LIMIT):
            raise ValueError(f"frame_rate is {self.frame_rate}, both terms must be 1 to {RATE_LIMIT}")
        _bound_count(self, "frames")

    def pack(self) -> bytes:
        rate = pack_varint(self.frame_rate.numerator) + pack_varint(self.frame_rate.denominator)
        return self._pack_as(_VIDEO) + rate + _pack_count(self.frames)

    def describe(self) -> dict[str, Any]:
        return {"kind": "video", **asdict(self), "frame_rate": str(self.frame_rate)}

    unit: ClassVar[str] = "bits per pixel"

    def rate(self, size: int, samples: Any = None) -> float | None:
        """Bits per pixel of a stream of `size` bytes; None where the length is 0 or not known."""
        return 8 * size / (self.height * self.width * self.frames) if self.frames else None

    def __str__(self) -> str:
        length = "" if self.frames is None else f"{self.frames} frames of "
        return f"{length}{self.width}x{self.height}, {float(self.frame_rate):g} a second"


@dataclass(frozen=True)
class TensorSignal:
    """A set of named tensors; names, shapes and dtypes are the codec's."""

    def pack(self) -> bytes:
        return bytes([_TENSORS])

    def describe(self) -> dict[str, Any]:
        return {"kind": "tensors"}

    unit: ClassVar[str] = "bits per parameter"

    def rate(self, size: int, samples: Any = None) -> float | None:
        """Bits per parameter of a stream of `size` bytes.

        samples: the tensor or the dict of tensors, whose number the signal does not know: None without them.
        """
        tensors = samples.values() if isinstance(samples, Mapping) else [] if samples is None else [samples]
        count = sum(tensor.numel() for tensor in tensors)
        return 8 * size / count if count else None

    def __str__(self) -> str:
        return "tensors"


Signal = ImageSignal | AudioSignal | VideoSignal | TensorSignal


def take(data: BytesLike, offset: int, count: int, what: str) -> bytes:
    """`count` bytes of a track header. Raises `CorruptStreamError` where it ends before them."""
    if len(data) - offset < count:
        raise CorruptStreamError(f"track header of {len(data)} bytes ends inside its {what} at byte {offset}")
    return bytes(data[offset : offset + count])


@contextmanager
def from_stream() -> Iterator[None]:
    """Turn a constructor's refusal into the error of a bad stream: one place holds each limit."""
    try:
        yield
    except ValueError as refusal:
        raise CorruptStreamError(f"track header: {refusal}") from None


def unpack_signal(data: BytesLike, offset: int = 0) -> tuple[Signal, int]:
    """The signal spec at `data[offset:]` and the offset behind it. Raises `CorruptStreamError`."""
    kind = take(data, offset, 1, "signal kind")[0]
    offset += 1
    if kind == _TENSORS:
        return TensorSignal(), offset
    if kind == _AUDIO:
        sample_rate, offset = unpack_varint(data, offset)
        channels = take(data, offset, 1, "channels")[0]
        samples, offset = _unpack_count(data, offset + 1)
        with from_stream():
            return AudioSignal(sample_rate, channels, samples), offset
    if kind not in (_IMAGE, _VIDEO):
        raise CorruptStreamError(f"track header: signal kind {kind} is not known (1 to 4 are)")
    depth, code = divmod(take(data, offset, 1, "picture format")[0], 16)
    height, offset = unpack_varint(data, offset + 1)
    width, offset = unpack_varint(data, offset)
    if not 1 <= code <= len(LAYOUTS):
        raise CorruptStreamError(f"track header: channel layout {code} is not known (1 to {len(LAYOUTS)} are)")
    picture = height, width, LAYOUTS[code - 1], depth + 1
    if kind == _IMAGE:
        with from_stream():
            return ImageSignal(*picture), offset
    numerator, offset = unpack_varint(data, offset)
    denominator, offset = unpack_varint(data, offset)
    frames, offset = _unpack_count(data, offset)
    if denominator == 0 or gcd(numerator, denominator) != 1:
        raise CorruptStreamError(f"track header: frame rate {numerator}/{denominator} is not in lowest terms")
    with from_stream():
        return VideoSignal(*picture, Fraction(numerator, denominator), frames), offset
