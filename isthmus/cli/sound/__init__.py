# SPDX-License-Identifier: Apache-2.0
"""Sound through `isthmus encode` and `decode`: block by block, so that its length does not matter."""

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.cli.pipes import NAMES, STANDARD, Begun, about, is_pipe, shown_as, sink, tell
from isthmus.cli.progress import progress
from isthmus.cli.sound.recording import Recording, can_end
from isthmus.cli.stopping import StoppedError, told_first
from isthmus.progress import Progress

SHOWN = "samples"
LONGEST_TAG = 4096  # characters
SHORTEST = 0.05  # seconds of which a rate says something
QUIET = 0.25  # a peak below which it matters that a pipe's level was not known


def encode_sound(model: Any, source: Path, shown: Path, target: Path, options: dict[str, Any]) -> None:
    """A file of sound to a stream; a first look at it finds its level. shown: the name that was asked for."""
    from isthmus.media.audio import open_sound

    sound = open_sound(source)
    with sink(target, source=shown) as file, progress(sound.samples, err=True, unit=SHOWN) as bar:
        tags = _plain(sound.tags)
        metadata = {"tags": tags} if tags else None
        with about(shown):
            samples, scale = model.first_look(sound.blocks())
            count = model.write(
                _counted(sound.blocks(), bar), file, samples=samples, scale=scale, metadata=metadata,
                sample_rate=sound.sample_rate, **options,
            )  # fmt: skip
        size = file.tell() if file.seekable() else None
    _tell(target, count, sound.sample_rate, sound.channels, size)


def encode_pipe(model: Any, pipe: Begun, source: Path, target: Path, options: dict[str, Any]) -> None:
    """WAV that arrives through a pipe to a stream that is written while it does.

    Where its length is not known, a signal ends it: what had come is whole. Raises StoppedError then, which says so.
    """
    from isthmus.media.audio.wav import open_pipe

    with ExitStack() as stack:
        recording = stack.enter_context(Recording(pipe)) if can_end(pipe) else None
        sound = open_pipe(recording or pipe, shown_as(source))  # type: ignore[arg-type]
        file = stack.enter_context(sink(target, source=source))
        bar = stack.enter_context(progress(sound.samples, err=True, unit=SHOWN))
        if recording is not None and sound.samples is None:
            stack.enter_context(told_first(recording.end))
        peak = Peak()
        blocks = _counted(peak.of(sound.blocks()), bar)
        with about(source):
            count = model.write(blocks, file, samples=sound.samples, sample_rate=sound.sample_rate, **options)
        size = file.tell() if file.seekable() else None
    if 0 < peak.height < QUIET:
        told = f"the sound peaks at {20 * math.log10(peak.height):.0f} dB, and was coded as if it reached full scale"
        print(f"isthmus: note: {told}: a file, or a higher --quality, keeps more of it", file=sys.stderr)
    if recording is not None and recording.ended:
        name = NAMES[1] if str(target) == STANDARD else target
        raise StoppedError(f"{name} holds the {count / sound.sample_rate:.1f} s that had come")
    _tell(target, count, sound.sample_rate, sound.channels, size)


def decode_sound(model: Any, source: Any, shown: Path, target: Path, options: dict[str, Any]) -> None:
    """A stream, a path or a pipe, to a file of sound, or to a pipe as WAV."""
    from isthmus.media import audio
    from isthmus.signals import AudioSignal

    with model.open(source, allow_loss=bool(options.get("allow_loss"))) as units:
        start, stop = model.DecodeOptions.of(options).part(units.sample_rate)
        there = units.samples
        end = stop if there is None else there if stop is None else min(stop, there)
        count = None if end is None or units.cut else max(0, end - start)
        with progress(count, err=True, unit=SHOWN) as bar, sink(target, source=shown) as file:
            blocks = _counted(units.blocks(**options), bar)
            if is_pipe(target):
                audio.stream_blocks(file, blocks, units.sample_rate, units.channels, count)
            else:
                begun = list(islice(blocks, 1))  # from a pipe, what stands before the first unit is known now
                tags = _plain(units.metadata.get("tags"))
                audio.write_to(file, target, chain(begun, blocks), units.sample_rate, units.channels, count, tags)
        done = AudioSignal(units.sample_rate, units.channels, bar.done)
    for line in _warnings(units):
        print(f"isthmus: warning: {line}", file=sys.stderr)
    tell(f"{target}: {done}", target)


class Peak:
    """How high the samples of blocks that pass reach."""

    def __init__(self) -> None:
        self.height = 0.0

    def of(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The blocks."""
        for block in blocks:
            self.height = max(self.height, float(np.abs(block).max(initial=0.0)))
            yield block


def _warnings(units: Any) -> Iterator[str]:
    """What was lost, units that follow each other in one line, and what samples of 16 bits cannot hold."""
    from isthmus.codecs.walloc.audio.scale import PEAK, STREAMED

    grid, ends = units.plan.grid, units.samples
    lost = list(units.lost)
    while lost:
        first, count = lost[0], 1
        while count < len(lost) and lost[count].unit == first.unit + count:
            count += 1
        begin, end = (unit * grid.unit / grid.coded_rate for unit in (first.unit, first.unit + count))
        end = end if ends is None else min(end, ends / units.sample_rate)
        more = f"; and {count - 1} more after it" if count > 1 else ""
        yield f"lost {begin:.2f} to {end:.2f} s: {first.reason}{more}"
        del lost[:count]
    if units.plan.scale.gain < STREAMED - 1:  # the code just below is that of full scale with a little offset, too
        peak = PEAK / units.plan.scale.factor
        yield f"the sound reaches up to {peak:.2f} times full scale, beyond which samples of 16 bits are clipped"


def _plain(tags: Any) -> dict[str, str]:
    """What can be kept of tags, which may come from anywhere."""
    found = dict(tags) if isinstance(tags, dict) else {}
    kept = {k: v[:LONGEST_TAG] for k, v in found.items() if isinstance(k, str) and isinstance(v, str)}
    return {k: v.encode("utf-8", "replace").decode("utf-8").replace("\0", " ") for k, v in kept.items()}


def _counted(blocks: Iterable[np.ndarray], bar: Progress) -> Iterator[np.ndarray]:
    for block in blocks:
        yield block
        bar.update(block.shape[1])


def _tell(target: Path, samples: int, sample_rate: int, channels: int, size: int | None) -> None:
    from isthmus.signals import AudioSignal

    signal = AudioSignal(sample_rate, channels, samples)
    rate = None if size is None or samples < SHORTEST * sample_rate else signal.rate(size)
    told = "" if size is None else f", {size} bytes" + ("" if rate is None else f", {rate:.2f} {signal.unit}")
    tell(f"{target}: {signal}{told}", target)
