# SPDX-License-Identifier: Apache-2.0
"""Progress of long work, on standard error: a bar on terminals, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import IO, TypeVar

from tqdm import tqdm

T = TypeVar("T")
EVERY = 10.0  # seconds between lines
MANY = 99_999  # beyond which numbers are shown with k and M


class Progress:
    """total: how much there is to do, None where nobody knows. unit: of what, "bytes" or another plural.

    what: is being done. done: of a total, before this began. shown: whether anything is said at all. out: where `echo`
    prints; None: standard output.
    """

    def __init__(
        self, total: int | None, unit: str, *, what: str = "", done: int = 0, shown: bool = True,
        out: IO[str] | None = None,
    ) -> None:  # fmt: skip
        self.total, self.unit, self.what, self.done = total, unit, what, done
        self._first, self._shown, self._note, self._out = done, shown, "", out
        self._begin = self._told = time.monotonic()
        self._bar: tqdm[object] = tqdm(
            total=total, initial=done, desc=what or None, unit="B" if unit == "bytes" else f" {unit}", smoothing=0.05,
            unit_scale=unit == "bytes" or total is None or total > MANY, disable=None if shown else True,
        )  # fmt: skip

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

    def update(self, count: int = 1, note: str | None = None) -> None:
        """So much more is done. note: what to show beside it from now on."""
        self.done += count
        if note is not None:
            self._note = note
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(count)
        now = time.monotonic()
        if self._shown and self._bar.disable and now - self._told >= EVERY:
            self._told = now
            print(f"isthmus: {self._line(now)}", file=sys.stderr, flush=True)

    def next(self, note: str) -> None:
        """One more is done, in words."""
        self.update(1, note)

    def _line(self, now: float) -> str:
        scale, unit, digits = (1e6, "MB", 1) if self.unit == "bytes" else (1, self.unit, 0)
        of = "" if self.total is None else f" of {self.total / scale:.{digits}f}"
        parts = [f"{self.what}: " * bool(self.what) + f"{self.done / scale:.{digits}f}{of} {unit}"]
        if self.total is not None:
            parts.append(f"{100 * self.done / max(1, self.total):.0f} %")
        rate = (self.done - self._first) / max(1e-9, now - self._begin)
        if rate > 0 and (self.total is None or self.done < self.total):
            parts.append(f"{rate / scale:.{1 if rate / scale < 1000 else 0}f} a second")
        parts += [self._note] if self._note else []
        if rate and self.total is not None and self.done < self.total:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        return ", ".join(parts)

    def echo(self, line: str) -> None:
        """Prints a line at once, above the bar; an empty one is left out."""
        if not line:
            return
        out = self._out or sys.stdout
        self._bar.write(line, file=out)
        out.flush()


def each(items: Iterable[T], unit: str, *, what: str = "", total: int | None = None) -> Iterator[T]:
    """The items, with progress over them."""
    total = len(items) if total is None and isinstance(items, Sized) else total
    with Progress(total, unit, what=what) as shown:
        for item in items:
            yield item
            shown.update()


def duration(seconds: float) -> str:
    """In words, as roughly as one wants it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
