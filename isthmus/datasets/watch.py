# SPDX-License-Identifier: Apache-2.0
"""What a run says: its progress on standard error, a bar or a line now and then, and its report at the end."""

import sys
import time
from dataclasses import dataclass, field
from types import TracebackType

from tqdm import tqdm

from isthmus.datasets.plan import Changes
from isthmus.datasets.work import Done

EVERY = 10.0  # seconds between lines


@dataclass
class Report:
    """What a run did. count, lost, bytes: of the whole data set as it is now.

    made: shards of this run. changes: in the source since the plan was made. complete: whether all shards are there.
    failed: shards that could not be made, and why. warned: some of what readers warned of. there: shards that are.
    note: what people may not expect of the source.
    """

    destination: str
    shards: int
    made: int = 0
    there: int = 0
    count: int = 0
    lost: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    complete: bool = False
    classes: list[str] | None = None
    changes: Changes = field(default_factory=Changes)
    losses: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    warnings: int = 0
    note: str | None = None


class Watch:
    """As shards are done. shown: whether anything is said at all."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self._bar: tqdm[object] | None = None
        self._start = self._told = time.monotonic()
        self.samples = self.total = self.bytes_in = self.bytes_out = 0

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, what: str) -> None:
        """On a terminal, what takes long now."""
        if self.shown and sys.stderr.isatty():
            print(f"isthmus: {what} ...", file=sys.stderr, flush=True)

    def begin(self, samples: int, there: int, shards: int) -> None:
        """What there is to do, and how many of the shards are done already."""
        self.total = samples
        if self.shown and there:
            print(f"isthmus: {there} of {shards} shards are there already", file=sys.stderr, flush=True)
        self._start = self._told = time.monotonic()
        self._bar = tqdm(total=self.total, unit=" samples", smoothing=0.05, disable=None if self.shown else True)

    def done(self, done: Done) -> None:
        """One more shard."""
        assert self._bar is not None
        self.samples += done.items
        self.bytes_in, self.bytes_out = self.bytes_in + done.bytes_in, self.bytes_out + done.bytes_out
        self._bar.set_postfix_str(self._sizes(), refresh=False)
        self._bar.update(done.items)
        now = time.monotonic()
        if self.shown and self._bar.disable and now - self._told >= EVERY:
            self._told = now
            speed = self.samples / (now - self._start)
            left = (self.total - self.samples) / speed
            line = f"{self.samples} of {self.total} samples, {speed:.1f} a second, {self._sizes()}, {left:.0f} s left"
            print(f"isthmus: {line}", file=sys.stderr, flush=True)

    def _sizes(self) -> str:
        ratio = f", 1:{self.bytes_in / self.bytes_out:.1f}" if self.bytes_out else ""
        return f"{self.bytes_in / 1e6:.1f} MB in, {self.bytes_out / 1e6:.1f} MB out{ratio}"
