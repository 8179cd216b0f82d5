# SPDX-License-Identifier: Apache-2.0
"""What `isthmus weights` says of the files that it makes, finds and passes over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from isthmus.cli.pipes import is_pipe
from isthmus.cli.stopping import StoppedError


class Told:
    """Prints what is done as it is done. as_it_was, changed: said of shards that stay so, of configs that do not."""

    def __init__(self, echo: Callable[[str], None], as_it_was: str, changed: str) -> None:
        self._echo, self._as_it_was, self._changed = echo, as_it_was, changed
        self._shards: list[Any] = []
        self._others: dict[Path, Any] = {}  # by target: a config is told of again when it is changed

    def file(self, one: Any) -> None:
        """A `weights.Done`."""
        if one.source.suffix not in (".safetensors", ".dfloat"):
            self._others[one.target] = one
            return
        self._shards.append(one)
        note = f", {self._as_it_was}" if one.copied else ", was there already, verified" if one.skipped else ""
        self._echo(f"{one.target}: {_sizes([one])}{note}")
        if one.kept:
            dtypes = ", ".join(f"{dtype} ({count})" for dtype, count in sorted(one.kept.items()))
            self._echo(f"  tensors of these dtypes are kept as they are: {dtypes}")

    def sums(self) -> None:
        """The lines at the end, for a folder."""
        from isthmus.weights.folders.pickles import PICKLES

        copied = [one for one in self._others.values() if one.copied]
        if copied:
            size = sum(one.source_bytes for one in copied)
            pickles = [f"{one.source.name}, {one.source_bytes} bytes" for one in copied if one.source.suffix in PICKLES]
            of_these = f"; of these pickles, perhaps of the same weights: {'; '.join(pickles)}" if pickles else ""
            self._echo(f"other files copied as they are: {len(copied)}, {size} bytes{of_these}")
        for one in self._others.values():
            if not one.copied:
                self._echo(f"{one.target}: {one.source_bytes} to {one.target_bytes} bytes, {self._changed}")
        if len(self._shards) > 1:
            self._echo(f"total of {len(self._shards)} files of weights: {_sizes(self._shards)}")


def _sizes(done: list[Any]) -> str:
    before, after = sum(one.source_bytes for one in done), sum(one.target_bytes for one in done)
    return f"{before} to {after} bytes, {100 * after / before:.2f} %"


@contextmanager
def going_on(source: Path) -> Iterator[None]:
    """Has an interruption say what to do, around work on a folder, which goes on shard by shard."""
    try:
        yield
    except KeyboardInterrupt:
        if not source.is_dir():
            raise
        raise StoppedError("run the same command again to go on") from None


def tell_left_out(source: Path) -> None:
    """Says on standard error what of a folder is passed over, if anything is."""
    from isthmus import weights

    found = [] if is_pipe(source) else weights.left_out(source)
    hidden = [path for path in found if path.name.startswith(".")]
    for what, paths in (("hidden", hidden), ("no files", [path for path in found if path not in hidden])):
        if paths:
            names = ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
            typer.echo(f"isthmus: left out, as they are {what}: {len(paths)} ({names})", err=True)


def tell_estimate(found: Any) -> None:
    """A `weights.Estimate`."""
    share = 100 * found.target_bytes / found.source_bytes
    typer.echo(
        f"about {found.source_bytes} to {found.target_bytes} bytes, {share:.1f} %, judging by a sample of "
        f"{found.sampled_bytes} bytes; nothing was written"
    )
    reasons = {
        "asked": "left out by --include and --exclude",
        "no gain": "would not get smaller, judging by the sample",
        "compressed already": "in files that are compressed already",
    }
    for reason, (tensors, size) in sorted(found.raw.items()):
        why = reasons.get(reason, f"{reason} is never coded")
        typer.echo(f"  kept as they are, {why}: {size} bytes in {tensors} tensor{'s' if tensors > 1 else ''}")
