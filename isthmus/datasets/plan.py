# SPDX-License-Identifier: Apache-2.0
"""plan.jsonl: which items belong to which shard (docs/format-dataset.md, "Plan")."""

import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, cast

from isthmus.datasets.listing import Listing
from isthmus.datasets.settings import digest
from isthmus.datasets.sources import Source
from isthmus.datasets.storage import Place
from isthmus.datasets.work import Task
from isthmus.errors import CorruptStreamError

NAME, VERSION = "plan.jsonl", 1
SHARDS = 32  # at least, where there are enough samples, so that many processes have something to do
FEWEST, MOST = 64, 1000  # samples of a shard: it says some kilobytes of itself
MOST_BYTES = 1 << 28  # of the sources of a shard


@dataclass(frozen=True)
class Part:
    """A line of the plan that begins what comes from one source. columns, classes: of the whole data set until then."""

    source: Any
    settings: str
    columns: dict[str, str]
    classes: list[str] | None

    def describe(self) -> dict[str, Any]:
        return {"version": VERSION, "source": self.source, "settings": self.settings, "columns": self.columns,
                "classes": self.classes}  # fmt: skip


class Shard(NamedTuple):
    """A line of the plan without its items, of which there may be more than memory holds."""

    number: int
    digest: str
    items: int
    source: Any


@dataclass
class Changes:
    """What was found when the plan was made anew."""

    added: int = 0
    changed: int = 0
    gone: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.gone)

    def __str__(self) -> str:
        return f"{self.added} new, {self.changed} changed, {self.gone} gone"


def read_plan(place: Place) -> Iterator[Part | Task]:
    """Its lines in order. Raises CorruptStreamError."""
    version = None
    for number, line in enumerate(place.lines(NAME), 1):
        try:
            told = json.loads(line)
            if "shard" in told:
                if not all(isinstance(item, list) and isinstance((item or [0])[0], str) for item in told["items"]):
                    raise TypeError("an item without a key")
                yield Task(int(told["shard"]), list(told["items"]), digest(told))
                continue
            version = told["version"]
            if version != VERSION:
                raise ValueError(f"version {version}, this isthmus reads {VERSION}")
            if not isinstance(told["classes"], list | None):
                raise TypeError(f"classes {told['classes']!r}")
            yield Part(told["source"], told["settings"], dict(told["columns"]), told["classes"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise CorruptStreamError(
                f"{place.name(NAME)}: line {number} cannot be read ({error}): remove it, and the plan is made anew"
            ) from error
    if version is None:
        raise CorruptStreamError(f"{place.name(NAME)}: empty: remove it, and the plan is made anew")


def read_shards(place: Place) -> list[Shard]:
    """All shards of the plan, each with the description of its source."""
    found: list[Shard] = []
    source = None
    for line in read_plan(place):
        if isinstance(line, Part):
            source = line.source
        else:
            found.append(Shard(line.shard, line.digest, len(line.items), source))
    return found


def read_parts(place: Place) -> list[Part]:
    """What comes from each source."""
    return [line for line in read_plan(place) if isinstance(line, Part)]


def read_tasks(place: Place, numbers: Collection[int]) -> Iterator[Task]:
    """Those shards of the plan, one at a time."""
    return (line for line in read_plan(place) if isinstance(line, Task) and line.shard in numbers)


class PlanWriter:
    """A plan that is being made; it gets its name when all of it is there."""

    def __init__(self, place: Place) -> None:
        self._place, self._file = place, tempfile.TemporaryFile()  # noqa: SIM115, `close` does
        self.shards = 0

    def __enter__(self) -> "PlanWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def part(self, part: Part) -> None:
        self._line(part.describe())

    def shard(self, items: list[list[Any]]) -> None:
        self._line({"shard": self.shards, "items": items})
        self.shards += 1

    def rest(self, listing: Listing, most: int | None) -> int:
        """Shards of all items that are in none; returns how many items those are."""
        if most is None:
            most = min(MOST, max(FEWEST, -(-len(listing) // SHARDS)))
        items: list[list[Any]] = []
        size = count = 0
        for item, bytes_ in listing.rest():
            if items and (len(items) >= most or size + bytes_ > MOST_BYTES):
                self.shard(items)
                items, size = [], 0
            items.append(item)
            size, count = size + bytes_, count + 1
        if items:
            self.shard(items)
        return count

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    def close(self, *, keep: bool) -> None:
        """Writes it, or forgets it."""
        with self._file as file:
            if keep:
                file.seek(0)
                self._place.write(NAME, cast(BinaryIO, file))

    def create(self) -> bool:
        """Writes it unless there is one already, of another job; says whether."""
        with self._file as file:
            file.seek(0)
            return self._place.create(NAME, cast(BinaryIO, file))


def part_of(source: Source, settings: str, columns: dict[str, str], listing: Listing, before: Part | None) -> Part:
    """What is said of a source that is added to what was there `before`.

    Raises ValueError where it does not fit that: other columns, labels that are missing, or other classes.
    """
    columns = dict(columns)
    if listing.labelled:
        columns["label"] = "int64"
    named = listing.names
    classes = source.classes
    if before is not None:
        if columns.keys() ^ before.columns.keys() == {"label"}:
            told = "have" if "label" in columns else "lack"
            why = f" ({source.note})" if source.note else ""
            raise ValueError(
                f"transcode: these samples {told} labels, unlike the data set{why}: all must have them, or none"
            )
        if columns != before.columns:
            there, asked = ", ".join(before.columns), ", ".join(columns)
            raise ValueError(f"transcode: columns {asked}; the data set has {there}: they must be the same")
        if classes is not None and classes != before.classes:
            raise ValueError(f"transcode: classes {classes}; the data set has {before.classes}")
        if named and before.classes is None and before.columns.get("label"):
            raise ValueError(f"transcode: labels by name ({named[0]!r}); those of the data set are numbers")
    known = before.classes if before else None
    if named:
        classes = [*(known or []), *(name for name in named if name not in (known or []))]
    return Part(source.description, settings, columns, known if classes is None else classes)


def check_keys(place: Place, listing: Listing) -> None:
    """Raises ValueError where samples that are to be added have keys that are there already."""
    for line in read_plan(place):
        if isinstance(line, Task):
            _check_keys(line, listing)


def _check_keys(there: Task, listing: Listing) -> None:
    for item in there.items:
        if listing.has(item[0]):
            raise ValueError(
                f"transcode: the data set has a sample {item[0]!r} from elsewhere: put what is to be added into a "
                "folder of another name, and add the folder above it (of rows: give them a column `key`)"
            )


def widest(parts: Sequence[Part]) -> Part:
    """The part that knows all classes: each run adds those that are new to what was there, to its own part."""
    return max(parts, key=lambda part: len(part.classes or ()))


def renew(place: Place, source: Source, part: Part, listing: Listing, most: int | None) -> tuple[Changes, Part]:
    """The plan as the source is now: the same samples in the same shards, new ones behind; written if it changed.

    Raises ValueError where new samples have keys of another source.
    """
    with PlanWriter(place) as writer:
        return _renew(writer, place, part, listing, most), part


def _renew(writer: PlanWriter, place: Place, part: Part, listing: Listing, most: int | None) -> Changes:
    changes = Changes()
    last: Part | None = None
    for line in read_plan(place):
        if isinstance(line, Part):
            last = line
            writer.part(part if line.source == part.source else line)
            continue
        assert last is not None
        if last.source != part.source:
            _check_keys(line, listing)
            writer.shard(line.items)
            continue
        items = []
        for item in line.items:
            now = listing.take(item[0])
            if now is None:
                changes.gone += 1
            else:
                changes.changed += now != item
                items.append(now)
        writer.shard(items)
    if last is not None and last.source != part.source and any(True for _ in listing.rest()):
        writer.part(part)
    changes.added = writer.rest(listing, most)
    writer.close(keep=bool(changes) or last != part)
    return changes
