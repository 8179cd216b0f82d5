# SPDX-License-Identifier: Apache-2.0
"""Codecs over files of one kind: bytes, likeness and speed of every file at every setting, and their averages."""

import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from isthmus.bench.medium import BenchCodec, Medium
from isthmus.bench.settings import Setting, describe, settings_of
from isthmus.errors import UnreadableFileError
from isthmus.kernels.tier import kernels_only
from isthmus.media import kinds
from isthmus.progress import Progress

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Row:
    """One file at one setting. rate: in the medium's unit. Seconds are thread-seconds (see `run`)."""

    codec: str
    setting: str
    file: str
    size: str
    amount: float
    bytes: int
    rate: float
    measures: dict[str, float]
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class CurvePoint:
    """Averages over all files of one codec at one setting.

    rate, measures: means over files; shown: the measures as they are plotted and compared; speeds: the amount of all
    files, in the medium's unit, over all thread-seconds.
    """

    codec: str
    setting: str
    files: int
    rate: float
    measures: dict[str, float]
    shown: dict[str, float]
    encode_speed: float
    decode_speed: float


def run(
    medium: Medium,
    files: Sequence[str | os.PathLike[str]],
    codecs: Sequence[BenchCodec],
    *,
    settings: Mapping[str, Sequence[Setting]] | None = None,
    repeats: int = 1,
) -> list[Row]:
    """Encode and decode each file with each codec at each setting, and measure; one row each.

    files: read by `media.kinds`; those that cannot be are left out with a warning. settings: codec name to options,
    else `settings_of` it. repeats: calls of encode and of decode that are timed, of which the median counts.

    Times are seconds of one thread: torch is held to one thread, and where a codec runs more threads of its own the
    processor time of all of them counts. A first call of each codec on each size is not timed. Progress shows on a
    terminal, elsewhere as a line now and then.
    """
    if not files or not codecs:
        raise ValueError(f"bench: {len(files)} files and {len(codecs)} codecs; expected at least one of each")
    if repeats < 1:
        raise ValueError(f"bench: repeats is {repeats}; expected at least 1")
    ladders = {codec.name: list((settings or {}).get(codec.name) or settings_of(codec)) for codec in codecs}
    files = _readable(files, medium)
    rows: list[Row] = []
    total = len(files) * sum(len(ladder) for ladder in ladders.values())
    with kernels_only(), one_thread(), Progress(total, "calls") as shown:
        warm: set[tuple[str, str]] = set()
        for path in files:
            samples, told = kinds.read(path, medium.kind, {})
            samples, facts = medium.prepare(samples, told)
            for codec in codecs:
                place = codec.name, medium.size(samples)
                if place not in warm:
                    for setting in ladders[codec.name][:3]:  # those that are no ladder may run different code
                        _decode(codec, codec.encode(samples, **facts, **setting), samples, facts)
                    warm.add(place)
                for setting in ladders[codec.name]:
                    rows.append(_measure(medium, codec, setting, samples, facts, told, Path(path).name, repeats))
                    shown.next(f"{codec.name} {describe(setting)}")
    return rows


def _readable(files: Sequence[str | os.PathLike[str]], medium: Medium) -> list[str | os.PathLike[str]]:
    """Those that can be read and measured, which shows now, not after an hour; of others a warning.

    Raises the error if none can.
    """
    kept, refused = [], []
    with Progress(len(files), "files") as shown:
        for path in files:
            try:
                medium.prepare(*kinds.read(path, medium.kind, {}))
                kept.append(path)
            except UnreadableFileError as error:
                refused.append(error)
            except ValueError as error:
                refused.append(UnreadableFileError(f"{path}: {error}"))
            shown.next(f"looking into {Path(path).name}")
    if not kept:
        raise refused[0]
    for one in refused:
        warnings.warn(f"bench: left out: {one}", stacklevel=3)
    return kept


def average(medium: Medium, rows: Sequence[Row]) -> dict[str, list[CurvePoint]]:
    """Rate-distortion curves: codec name to its points in order of rate.

    A file that some codec gives back exactly, and others not, has no mean with them: it is left out with a warning.
    """
    exact = _exact_among_others(rows)
    if exact:
        told = "a codec gives back exactly, or nothing of, what others do not: left out of all means"
        warnings.warn(f"bench: {', '.join(sorted(exact))}: {told}", stacklevel=2)
    groups = _by_setting([row for row in rows if row.file not in exact])
    curves: dict[str, list[CurvePoint]] = {}
    for (codec, setting), group in groups.items():
        measures = {name: _mean([row.measures[name] for row in group]) for name in group[0].measures}
        amount = sum(row.amount for row in group)
        point = CurvePoint(
            codec=codec,
            setting=setting,
            files=len(group),
            rate=statistics.fmean(row.rate for row in group),
            measures=measures,
            shown={name: medium.measures[name].shown(value) for name, value in measures.items()},
            encode_speed=amount / sum(row.encode_seconds for row in group),
            decode_speed=amount / sum(row.decode_seconds for row in group),
        )
        curves.setdefault(codec, []).append(point)
    return {codec: sorted(points, key=lambda point: point.rate) for codec, points in curves.items()}


def _by_setting(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.codec, row.setting), []).append(row)
    return groups


def _exact_among_others(rows: Sequence[Row]) -> set[str]:
    """Files with a measure that is not finite where that of another file is; none if that is so of all files."""
    found: set[str] = set()
    for group in _by_setting(rows).values():
        for name in group[0].measures:
            endless = {row.file for row in group if not math.isfinite(row.measures[name])}
            found |= endless if len(endless) < len(group) else set()
    return found if found != {row.file for row in rows} else set()


def _mean(values: Sequence[float]) -> float:
    """NaN of both infinities, such as the SI-SDR of a silent file decoded to silence, and to noise."""
    return math.nan if {math.inf, -math.inf} <= set(values) else statistics.fmean(values)


def _decode(codec: Any, data: bytes, samples: Any, facts: dict[str, Any]) -> Any:
    if hasattr(codec, "decode_like"):  # a peer that comes late, or fills up
        return codec.decode_like(data, samples, **facts)
    options = getattr(codec, "DecodeOptions", None)
    asks = options is None or options.has("output")
    return codec.decode(data, output="numpy") if asks else codec.decode(data)


def _measure(
    medium: Medium, codec: BenchCodec, setting: Setting, samples: Any, facts: dict[str, Any], told: dict[str, Any],
    name: str, repeats: int,
) -> Row:  # fmt: skip
    """told: the facts of the file, before they were prepared."""
    data, encode_seconds = _timed(lambda: codec.encode(samples, **facts, **setting), repeats)
    decoded, decode_seconds = _timed(lambda: _decode(codec, data, samples, facts), repeats)
    return Row(
        codec=codec.name,
        setting=describe(setting),
        file=name,
        size=medium.size(samples),
        amount=medium.amount(samples),
        bytes=len(data),
        rate=medium.rate(len(data), samples, facts),
        measures={
            name: measure.of(samples, decoded, **{fact: told[fact] for fact in measure.facts})
            for name, measure in medium.measures.items()
        },
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
    )


def _timed(call: Callable[[], _Result], repeats: int) -> tuple[_Result, float]:
    """Result of `call` and the median of its thread-seconds: the larger of elapsed and processor time."""
    seconds = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        result = call()
        seconds.append(max(time.perf_counter() - wall, time.process_time() - processor))
    return result, statistics.median(seconds)


@contextmanager
def one_thread() -> Iterator[None]:
    """Of torch."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
