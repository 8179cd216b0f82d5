# SPDX-License-Identifier: Apache-2.0
"""What the bench must know of a kind of samples: `isthmus.bench.kinds.<kind>` gives one, called MEDIUM."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from isthmus.errors import UnreadableFileError
from isthmus.media.kinds import KINDS


class BenchCodec(Protocol):
    """What the bench asks of a codec; `isthmus.load(name)` gives one. Options are those of its `settings`."""

    @property
    def name(self) -> str:
        """Name in tables and plots."""

    def encode(self, samples: Any, **options: Any) -> Any:
        """Bytes of samples as `media.kinds.read` gives them."""

    def decode(self, data: bytes, **options: Any) -> Any:
        """The samples again, numpy for output="numpy"."""


@dataclass(frozen=True)
class Measure:
    """A distance or likeness of two samples.

    of: original and decoded to a number, of which the mean over files counts; shown: that mean to what is plotted and
    compared at equal values, in dB for instance. label: of the plot's axis. facts: names of those that the file tells
    and `of` takes, too.
    """

    of: Callable[..., float]
    label: str
    shown: Callable[[float], float] = float
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Medium:
    """A kind in the bench.

    measures: by name, the first the most important. rate: of so many bytes for samples and their facts, in `unit`.
    amount: of samples, in `amount_unit`, for speeds. size: samples in words. prepare: samples and facts as all codecs
    take them, ValueError where nothing can be measured. variants: the ways in which one of ours is measured.
    peers: codecs of others, and a note for each that is missing. anchor, span: the peer that BD-rates are against, and
    between which of its rates.
    """

    kind: str
    unit: str
    amount_unit: str
    measures: dict[str, Measure]
    rate: Callable[[int, Any, dict[str, Any]], float]
    amount: Callable[[Any], float]
    size: Callable[[Any], str]
    prepare: Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]
    peers: Callable[[], tuple[list[Any], list[str]]]
    anchor: str
    span: tuple[float, float] | None = None
    variants: Callable[[Any], list[Any]] = lambda codec: [codec]


def medium_of(kind: str) -> Medium:
    """The medium of a kind. Raises UnreadableFileError for one that the bench does not measure."""
    if kind not in KINDS:
        raise UnreadableFileError(f"bench: {kind!r} is not measured by this version; it measures {', '.join(KINDS)}")
    found: Medium = import_module(f"isthmus.bench.kinds.{kind}").MEDIUM
    return found
