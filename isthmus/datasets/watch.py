# SPDX-License-Identifier: Apache-2.0
"""What a run says: its progress on standard error, a bar or a line now and then, and its report at the end."""

import sys
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from isthmus.datasets.plan import Changes
from isthmus.datasets.work import Done
from isthmus.progress import Progress


@dataclass
class Report:
    """What a run did. count, lost, bytes: of the whole data set as it is now.

    made: shards of this run. changes: in the source since the plan was made. complete: whether all shards are there.
    failed: shards that could not be made, and why. warned: some of what readers warned of. there: shards that are.
    note: what people may not expect of the source. elsewhere: of shards that are not there, as they are made of another
    source, which that is: run it with that one.
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
    elsewhere: list[Any] = field(default_factory=list)


class Watch:
    """As shards are done. shown: whether anything is said at all."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self._progress: Progress | None = None
        self.bytes_in = self.bytes_out = 0

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.close()

    def say(self, what: str) -> None:
        """On a terminal, what takes long now."""
        if self.shown and sys.stderr.isatty():
            print(f"isthmus: {what} ...", file=sys.stderr, flush=True)

    def begin(self, samples: int, there: int, shards: int) -> None:
        """What there is to do, and how many of the shards are done already."""
        if self.shown and there:
            print(f"isthmus: {there} of {shards} shards are there already", file=sys.stderr, flush=True)
        self._progress = Progress(samples, "samples", shown=self.shown)

    def done(self, done: Done) -> None:
        """One more shard."""
        assert self._progress is not None
        self.bytes_in, self.bytes_out = self.bytes_in + done.bytes_in, self.bytes_out + done.bytes_out
        ratio = f", 1:{self.bytes_in / self.bytes_out:.1f}" if self.bytes_out else ""
        self._progress.update(done.items, f"{self.bytes_in / 1e6:.1f} MB in, {self.bytes_out / 1e6:.1f} MB out{ratio}")
