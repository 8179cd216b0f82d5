# SPDX-License-Identifier: Apache-2.0
"""What the header of a stream of sound asks for, and what a latent of one unit is."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.walloc.audio.encoder import UnitEncoder
from isthmus.codecs.walloc.audio.options import AudioDecodeOptions, AudioOptions
from isthmus.codecs.walloc.audio.scale import Scale
from isthmus.codecs.walloc.audio.synthesis import UnitSynthesis
from isthmus.codecs.walloc.audio.unit import End, Grid
from isthmus.codecs.walloc.audio.weights import AudioWeights

CONTEXT = "walloc.3"


class Plan(NamedTuple):
    """samples: of each channel, None where the header does not know."""

    grid: Grid
    channels: int
    samples: int | None
    quality: int
    scale: Scale
    noise: bool


class UnitLayout(NamedTuple):
    """Of a latent that is one unit: its number, and the end of the sound if it is the last."""

    unit: int
    end: End | None


class SoundCodec(Protocol):
    """What readers and writers of sound ask of the codec."""

    weights: AudioWeights

    @property
    def plan(self) -> Callable[[TrackHeader], Plan]:
        """What a header asks for."""

    def begin(
        self, channels: int, options: AudioOptions, samples: int | None, scale: Scale
    ) -> tuple[TrackHeader, UnitEncoder]:
        """The header of a new stream, and what encodes its samples."""

    def synthesis(self, plan: Plan, header: TrackHeader, options: AudioDecodeOptions) -> UnitSynthesis:
        """What makes samples of latents."""

    def unpack_unit(self, header: TrackHeader, unit: int, payload: bytes | memoryview) -> Any:
        """One unit to a latent."""
