# SPDX-License-Identifier: Apache-2.0
"""Codec `walloc.3`: WaLLoC sound, in units of 256 frames whose latents are coded with contexts along time.

Byte format: docs/format-walloc.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.audio import from_audio, to_audio
from isthmus.bitstream import StreamWriter, TrackHeader
from isthmus.codecs.base import Latent, LatentBatch, LatentSpec
from isthmus.codecs.batching import is_one, named_by_place
from isthmus.codecs.trained import TrainedCodec
from isthmus.codecs.walloc.audio.batch import unpack_batch
from isthmus.codecs.walloc.audio.encoder import UnitEncoder
from isthmus.codecs.walloc.audio.options import AudioDecodeOptions, AudioOptions, scale_of
from isthmus.codecs.walloc.audio.plan import CONTEXT, Plan, UnitLayout
from isthmus.codecs.walloc.audio.samples import Part
from isthmus.codecs.walloc.audio.scale import Loudness, Scale, first_look
from isthmus.codecs.walloc.audio.synthesis import UnitSynthesis
from isthmus.codecs.walloc.audio.unit import Grid, UnitPlanes, check_end, coded_rate
from isthmus.codecs.walloc.audio.units import AudioUnits, LatentUnits
from isthmus.codecs.walloc.audio.weights import AudioWeights
from isthmus.codecs.walloc.audio.writer import SoundWriter, write_units
from isthmus.errors import CorruptStreamError, IsthmusError
from isthmus.files import atomic_file
from isthmus.forks import first_time, torch_computes
from isthmus.kernels import threads
from isthmus.models.walloc.noise import STEP
from isthmus.signals import AudioSignal


class WallocAudioCodec(TrainedCodec[AudioWeights]):
    """Sound of one or two channels: torch or numpy [C, T] or [T], floats in -1..1, int16 or int32.

    `quality` 1..100, larger is better, spans the whole range of the model. The bytes depend on the samples, the quality
    and the weights alone, not on threads or blocks. The network is read when it is first needed.
    """

    kind = "audio"
    Options, DecodeOptions, in_blocks = AudioOptions, AudioDecodeOptions, True

    def __init__(self, name: str, weights: AudioWeights, device: str) -> None:
        super().__init__(name, weights, device)
        self.codec_id = CONTEXT

    @property
    def tables_hashes(self) -> dict[str, str]:
        """Hash of the entropy tables of each codec id that this codec reads and writes."""
        return {CONTEXT: self.weights.tables_hash}

    @classmethod
    def describe_options(cls, options: bytes) -> dict[str, Any]:
        """Quality and noise, and the scale: what is coded is gain times the sound, less the means."""
        return {**super().describe_options(options), **scale_of(options).describe()}

    def analyze(self, samples: Any, **options: Any) -> Latent:
        """One sound to a `Latent`: plane `y`, int16 [c, frames], ceil(T / 256) + 1 frames at the coded rate.

        Plane `noise`, int16 [channels * groups, frames / 64], are the levels of what is lost, in steps of -4 dB.

        options: `AudioOptions`; sample_rate must be given. Raises ValueError or TypeError for other shapes, dtypes or
        options, and for samples that are not finite.
        """
        chosen = AudioOptions.of(options)
        sound = to_audio(samples)
        loudness = Loudness(len(sound))
        loudness.add(sound)
        header, encoder = self.begin(len(sound), chosen, sound.shape[1], loudness.scale())
        parts = encoder.push(sound)
        rest, end = encoder.finish()
        return Latent(_planes([*parts, *rest]), LatentSpec(header, layout=sound.shape[1]), self)

    def begin(
        self, channels: int, options: AudioOptions, samples: int | None, scale: Scale
    ) -> tuple[TrackHeader, UnitEncoder]:
        if options.sample_rate is None:
            raise TypeError("encode: sample_rate must be given, in Hz, as in sample_rate=44100")
        if channels > 2:
            raise ValueError(f"encode: sound of {channels} channels, expected 1 or 2: mix them down, or encode pairs")
        grid = Grid(self.weights.config.bank, options.sample_rate)
        encoder = UnitEncoder(self.weights, grid, channels, options.quality, scale, options.noise)
        signal = AudioSignal(options.sample_rate, channels, samples)
        chosen = options.pack() + scale.pack()
        return TrackHeader(CONTEXT, self.weights.tables_hash, self.weights_hash, signal, chosen), encoder

    def pack(self, latent: Latent) -> bytes:
        """Latent to bytes. Raises WeightsMismatchError for a latent of other tables, ValueError for other planes."""
        units, choices = LatentUnits(self, latent, "pack"), latent.spec.choices

        def one(part: Part) -> bytes:
            assert part.planes is not None
            chosen = choices[part.unit] if choices else (None, None)
            return self.weights.coder.pack(part.planes, units.plan.quality, part.end, chosen)

        file = BytesIO()
        writer = StreamWriter(file)
        writer.header(0, units.header)
        write_units(writer, 0, threads.run(one, list(units.parts()), torch.get_num_threads()), last=True)
        return file.getvalue()

    def unpack(self, data: bytes) -> Latent:
        """Bytes of a whole stream to a `Latent`; reads and runs no network. Raises children of IsthmusError only."""
        units = AudioUnits(self, data)
        parts = list(units.parts())
        planes = _planes([part.planes for part in parts if part.planes is not None])
        assert parts[-1].end is not None
        samples = check_end(parts[-1].end, units.plan.grid, parts[-1].unit, units.plan.samples)
        return Latent(planes, LatentSpec(units.header, tuple(part.choices for part in parts), samples), self)

    def unpack_unit(self, header: TrackHeader, unit: int, payload: bytes | memoryview) -> Latent:
        """One unit to a `Latent` of its own, int16 [c, frames]; its spec's layout is a `UnitLayout`."""
        plan = self.plan(header)
        planes, end, choices = self.weights.coder.unpack(payload, plan.quality, plan.noise)
        return Latent(_planes([planes]), LatentSpec(header, choices, UnitLayout(unit, end)), self)

    def unpack_batch(
        self, data: Sequence[bytes], *, errors: Literal["raise", "return"] = "raise", device: str = "cpu"
    ) -> LatentBatch:
        """As `Codec.unpack_batch`; on a GPU all units of all streams are decoded at once, to the same integers."""
        return unpack_batch(self, self.weights.coder, self.open, data, errors, device)

    def decode(self, data: bytes | Sequence[bytes], **options: Any) -> Any:
        """Bytes to samples float32 [C, T]; a list of streams to what `together` makes of them.

        options: `start` and `stop`, in seconds: only the units of that part are decoded; `noise` (default True): fill
        in what was lost, False for the least error; `synthesis` "network" (default) or "linear", a fast preview;
        `output` "torch" (default) or "numpy"; `allow_loss`: silence in place of units that are missing or damaged;
        `max_samples`: more are refused.
        """
        chosen = AudioDecodeOptions.of(options)
        if not is_one(data):
            found = []
            for place, one in enumerate(data):
                try:
                    found.append(self.decode(one, **options))
                except IsthmusError as error:
                    raise named_by_place(error, place, len(data)) from error
            return self.together(found)
        with first_time(f"decode {CONTEXT}"):
            return from_audio(AudioUnits(self, data, allow_loss=chosen.allow_loss).read(**options), chosen.output)

    def encode(self, samples: Any, **options: Any) -> bytes:
        """One sound, torch or numpy [C, T] or [T] of floats, int16 or int32, to a stream.

        options: `sample_rate` in Hz, which must be given; `quality` 1..100 (default 50, larger is better); `noise`
        (default True): keep how loud the noise is that is lost, for 0.3 kbit/s. Errors as of `analyze`.
        """
        return super().encode(samples, **options)

    def synthesize(self, latent: Latent, **options: Any) -> Any:
        """Latent of a whole sound to float32 [C, T], torch or numpy, at the rate and level that went in.

        options: `AudioDecodeOptions`. Raises WeightsMismatchError for a latent made with other synthesis weights.
        """
        chosen = AudioDecodeOptions.of(options)
        return from_audio(LatentUnits(self, latent).read(**options), chosen.output)

    def synthesis(self, plan: Plan, header: TrackHeader, options: AudioDecodeOptions) -> UnitSynthesis:
        """What makes samples of the latents of a stream. Raises WeightsMismatchError for those of other weights."""
        self.check_weights(header)
        model = None if options.synthesis == "linear" else self.model
        return UnitSynthesis(
            self.weights.linear, model, self.device, plan.quality, options.noise and plan.noise, mono=plan.channels == 1
        )

    def open(self, source: Any, *, allow_loss: bool = False) -> AudioUnits:
        """The units of a stream, from bytes, a path, a binary file or a pipe: latents, and samples by `blocks`."""
        return AudioUnits(self, source, allow_loss=allow_loss)

    first_look = staticmethod(first_look)

    def write(
        self,
        blocks: Iterable[Any],
        file: BinaryIO | str | os.PathLike[str],
        *,
        samples: int | None = None,
        scale: Scale | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> int:
        """Encodes blocks [C, n] of one sound, as they come, to a file, a pipe or a path; returns how many samples.

        samples: how many there will be of each channel, if it is known. scale: how loud they are, of a first look at
        them: `samples, scale = codec.first_look(blocks)`. Without one a peak at full scale is assumed, and what is
        quieter is coded more coarsely, in fewer bytes, than `encode` does at the same quality. metadata: of the file
        they come from. options: `AudioOptions`. The bytes do not depend on how the sound is cut into blocks.
        Raises ValueError for blocks of different channels and where the number of samples is not what was said; a file
        at a path is whole or absent.
        """
        if isinstance(file, str | os.PathLike):
            with atomic_file(file) as opened:
                return self.write(blocks, opened, samples=samples, scale=scale, metadata=metadata, **options)
        chosen = AudioOptions.of(options)
        writer = SoundWriter(self, file, chosen, samples, scale or Scale(), metadata)
        for block in [blocks] if hasattr(blocks, "shape") else blocks:  # a whole sound is one block
            writer.write(to_audio(block))
        return writer.finish()

    def _plan(self, header: TrackHeader) -> Plan:
        """Raises WeightsMismatchError for other tables, CorruptStreamError for what this codec never writes."""
        if header.codec_id != CONTEXT or header.tables_hash != self.weights.tables_hash:
            raise self.other_tables(header)
        signal, scale = header.signal, scale_of(header.options)
        if not isinstance(signal, AudioSignal) or signal.channels > 2 or len(scale.means) not in (0, signal.channels):
            raise CorruptStreamError(
                f"decode: a {CONTEXT} stream must describe sound of 1 or 2 channels, got {header.describe()}"
            )
        try:
            coded_rate(signal.sample_rate)
        except ValueError as error:
            told = str(error).removeprefix("encode: ")
            raise CorruptStreamError(f"decode: the header says {told}; fetch it again") from error
        grid = Grid(self.weights.config.bank, signal.sample_rate)
        options = AudioOptions.unpack(header.options)
        return Plan(grid, signal.channels, signal.samples, options.quality, scale, options.noise)

    def admit(self, header: TrackHeader, options: Any) -> None:
        """Raises CorruptStreamError for more than `options.max_samples` at once."""
        plan = self.plan(header)
        first, last = options.part(plan.grid.sample_rate)
        there = plan.samples if plan.samples is not None else last
        count = 0 if there is None else (there if last is None else min(last, there)) - first
        if count * plan.channels > options.max_samples:
            raise CorruptStreamError(
                f"decode: {count * plan.channels:,} samples, at most {options.max_samples:,} at once: decode parts of "
                "it (start=, stop=; --from, --to), read its blocks, or raise max_samples"
            )

    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        """{"y": float32 [c, frames], "noise"}: latents times the trained step of channel and quality; levels in dB."""
        torch_computes()
        y, step = latent.planes["y"], torch.from_numpy(self.weights.linear.step(self.plan(latent.spec.header).quality))
        return {"y": y.float() * step.to(y.device)[:, None], "noise": latent.planes["noise"].float() * -STEP}


def _planes(units: Sequence[UnitPlanes]) -> dict[str, Tensor]:
    """Those of units that follow each other as planes of a latent."""
    y, noise = (np.concatenate(planes, 1) for planes in zip(*units, strict=True))
    return {"y": torch.from_numpy(y), "noise": torch.from_numpy(noise)}
