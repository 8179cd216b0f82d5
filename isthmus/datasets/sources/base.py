# SPDX-License-Identifier: Apache-2.0
"""Where samples come from: what every kind of source gives."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from isthmus.datasets.storage import Place
from isthmus.errors import UnreadableFileError

Label = int | str | None
RESERVED = ("key", "label", "payload", "view", "height", "width", "samples", "sample_rate")  # columns of shards


@dataclass(frozen=True)
class Item:
    """One sample, as the plan keeps it: what is needed to find it again, and to see whether it has changed.

    key: its name in the data set. bytes: its size, or about that. stamp: changes when it does (nanoseconds of a file,
    a checksum). where: as the kind of source needs it. columns: what is passed through. broken: why it cannot be read,
    if that is known already.
    """

    key: str
    bytes: int
    stamp: int | str
    label: Label = None
    where: Any = None
    columns: dict[str, Any] = field(default_factory=dict)
    broken: str | None = None

    def pack(self) -> list[Any]:
        """As JSON values, without what is as usual at the end."""
        values = [self.key, self.bytes, self.stamp, self.label, self.where, self.columns or None, self.broken]
        while values[-1] is None:
            values.pop()
        return values

    @classmethod
    def unpack(cls, values: list[Any]) -> "Item":
        padded: list[Any] = [*values, *[None] * 7]
        key, size, stamp, label, where, columns, broken = padded[:7]
        return cls(key, size, stamp, label, where, columns or {}, broken)


@dataclass(frozen=True)
class Found:
    """The sample itself: the path of a file of this machine, or the bytes of one; `suffix` tells what it was called."""

    data: Any
    suffix: str

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """The path of a file; that of bytes is gone when the block ends."""
        if not isinstance(self.data, bytes):
            yield Path(self.data)
            return
        with NamedTemporaryFile(prefix="isthmus-", suffix=self.suffix) as file:
            file.write(self.data)
            file.flush()
            yield Path(file.name)


class Source(ABC):
    """Samples in a fixed order. It is sent to other processes, so it is small, and opens what it needs there.

    description: JSON from which `open_source` makes it again, and by which a later run knows it. classes: names of
    labels that are numbers, where the source has them; labels may be names themselves. columns: what is passed through,
    type by name. note: what people may not expect of it, known when `items` has ended.
    """

    description: Any
    classes: list[str] | None = None
    columns: dict[str, str]
    note: str | None = None

    @property
    def of_this_process(self) -> bool:
        """Whether no other process sees it."""
        return False

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Every sample, also those that cannot be read. Raises UnreadableFileError where there are none."""

    @abstractmethod
    def find(self, item: Item) -> Found:
        """What an item is about. Raises UnreadableFileError."""


def is_label(kind: str | None, where: str) -> bool:
    """Whether a column `label` of that type is there. Raises UnreadableFileError for neither numbers nor names."""
    if kind in (None, "null"):
        return False
    if not kind.startswith(("int", "uint", "bool", "string", "dictionary<values=string,")):
        raise UnreadableFileError(
            f"{where}: label is of type {kind}, expected whole numbers or names: call the column otherwise (it is kept "
            "beside, if it holds plain numbers or text)"
        )
    return True


def known_label(value: Any) -> Label:
    """None for one that is not known: a number below 0, such as Hugging Face's -1, and an empty name."""
    if value == "" or (isinstance(value, int) and value < 0):
        return None
    return int(value) if isinstance(value, bool) else value  # type: ignore[no-any-return]


def left_out(names: Iterable[str]) -> str | None:
    """A note of columns that are not kept."""
    told = ", ".join(names)
    return f"columns left out, which hold neither plain numbers nor text: {told}" if told else None


class PlacedSource(Source):
    """Samples that lie in a folder, by path or URL."""

    place: Place

    @property
    def of_this_process(self) -> bool:
        return self.place.of_this_process


class ContainerSource(PlacedSource):
    """Samples within files of a folder, `names`, one file after another. what: the samples are, for an error."""

    names: list[str]
    what: str

    def items(self) -> Iterator[Item]:
        found = False
        for name in self.names:
            for item in self.within(name):
                found = True
                yield item
        if not found:
            raise UnreadableFileError(f"{self.place.url}: no {self.what} in {', '.join(self.names[:3])}")

    @abstractmethod
    def within(self, name: str) -> Iterator[Item]:
        """The samples of one file."""
