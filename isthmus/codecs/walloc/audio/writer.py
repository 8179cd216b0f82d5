# SPDX-License-Identifier: Apache-2.0
"""A stream of sound, written while its samples come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import torch

from isthmus.arrays.types import Float32
from isthmus.bitstream import StreamWriter
from isthmus.codecs.walloc.audio.encoder import UnitEncoder
from isthmus.codecs.walloc.audio.options import AudioOptions
from isthmus.codecs.walloc.audio.plan import SoundCodec
from isthmus.codecs.walloc.audio.scale import Scale
from isthmus.codecs.walloc.audio.unit import End, UnitPlanes
from isthmus.kernels import threads


def write_units(writer: StreamWriter, first: int, payloads: Sequence[bytes], *, last: bool) -> None:
    """Units from number `first` on; last: they end the stream, with an index where it has more than one."""
    for unit, payload in enumerate(payloads, first):
        writer.packet(0, unit, payload)
    if last and first + len(payloads) > 1:
        writer.end()
        writer.index()


class SoundWriter:
    """`write` blocks float32 [C, n], then `finish`. The header is written with the first block."""

    def __init__(
        self,
        codec: SoundCodec,
        file: BinaryIO,
        options: AudioOptions,
        samples: int | None,
        scale: Scale,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        self.codec, self.file, self.options = codec, file, options
        self.samples, self.scale, self.metadata = samples, scale, metadata
        self.encoder: UnitEncoder | None = None
        self._units = 0

    def _begin(self, channels: int) -> UnitEncoder:
        header, encoder = self.codec.begin(channels, self.options, self.samples, self.scale)
        self._channels, self._writer = channels, StreamWriter(self.file)
        self._writer.header(0, header)
        if self.metadata:
            self._writer.metadata(self.metadata)
        return encoder

    def write(self, block: Float32) -> None:
        """The next samples. Raises ValueError for another number of channels."""
        if self.encoder is None:
            self.encoder = self._begin(len(block))
        if len(block) != self._channels:
            raise ValueError(f"encode: a block of {len(block)} channels after one of {self._channels}")
        self._put(self.encoder.push(block), None)

    def finish(self) -> int:
        """Writes what is left; returns how many samples there were. Raises ValueError for not what was announced."""
        if self.encoder is None:
            self.encoder = self._begin(1)
        parts, end = self.encoder.finish()
        if self.samples not in (None, self.encoder.samples):
            raise ValueError(f"encode: {self.encoder.samples} samples came, {self.samples} were announced")
        self._put(parts, end)
        return self.encoder.samples

    def _put(self, parts: list[UnitPlanes], end: End | None) -> None:
        def one(place: int) -> bytes:
            is_last = end is not None and place == len(parts) - 1
            return self.codec.weights.coder.pack(parts[place], self.options.quality, end if is_last else None)

        payloads = threads.run(one, range(len(parts)), torch.get_num_threads())
        write_units(self._writer, self._units, payloads, last=end is not None)
        self._units += len(payloads)
