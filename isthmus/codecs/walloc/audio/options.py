# SPDX-License-Identifier: Apache-2.0
"""What callers may choose when they encode and decode sound, and what a header keeps of it."""

from dataclasses import dataclass
from typing import Any, Literal

from isthmus.codecs.walloc.audio.scale import Scale
from isthmus.errors import CorruptStreamError
from isthmus.options import DecodeOptions, Options, option
from isthmus.varint import BytesLike, unpack_varint

MAX_SAMPLES = 1 << 30
LATEST = 1e9  # seconds


@dataclass(frozen=True)
class AudioOptions(Options):
    """The option bytes of a stream are quality and noise, and then the `Scale`, which the sound decides."""

    quality: int = option(50, "1 to 100, larger is better.", low=1, high=100, short="q", stored=True)
    noise: bool = option(
        True, "Keep how loud the noise is that is lost, so that decoders can fill it in: 0.3 kbit/s.", stored=True
    )
    sample_rate: int | None = option(None, "Samples a second, in Hz; must be given.", low=1, flag=False)

    @classmethod
    def unpack(cls, data: BytesLike) -> "AudioOptions":
        """The quality. Raises CorruptStreamError."""
        try:
            end = _end_of_options(data)
            Scale.unpack(data[end:])
        except CorruptStreamError as error:
            raise CorruptStreamError(
                f"decode: the option bytes {bytes(data[:16]).hex()!r} should hold quality, noise, gain and means: "
                f"{error}; the stream is damaged, fetch it again"
            ) from None
        return super().unpack(data[:end])


def scale_of(options: bytes) -> Scale:
    """The `Scale` in the option bytes of a stream. Raises CorruptStreamError."""
    return Scale.unpack(options[_end_of_options(options) :])


def _end_of_options(data: BytesLike) -> int:
    return unpack_varint(data, unpack_varint(data)[1])[1]


@dataclass(frozen=True)
class AudioDecodeOptions(DecodeOptions):
    """Which part, made how, and in which shape."""

    start: float | None = option(
        None, "Begin so many seconds into the sound.", low=0, high=1e9, name="from", seconds=True
    )
    stop: float | None = option(
        None, "End there, in seconds from its beginning.", low=0, high=1e9, name="to", seconds=True
    )
    synthesis: Literal["network", "linear"] = option(
        "network", "linear leaves the network out: a preview at about the speed of encoding."
    )
    noise: bool = option(
        True, "Fill in the noise that was lost, where the stream keeps its level: closer to the ear, further in PSNR.",
    )  # fmt: skip
    allow_loss: bool = option(False, "Units that are missing or damaged become silence, and are listed.")
    max_samples: int = option(MAX_SAMPLES, "More at once than that are refused.", low=1, flag=False)
    output: Literal["torch", "numpy"] = option("torch", "What samples are given as.", flag=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start is not None and self.stop is not None and self.stop < self.start:
            raise ValueError(f"decode: from {self.start:g} s to {self.stop:g} s, expected an end behind the beginning")

    def part(self, sample_rate: int) -> tuple[int, int | None]:
        """The samples asked for: first, and the one behind the last, None for all."""
        stop: Any = None if self.stop is None else round(self.stop * sample_rate)
        return round((self.start or 0.0) * sample_rate), stop
