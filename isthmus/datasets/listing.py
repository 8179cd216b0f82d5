# SPDX-License-Identifier: Apache-2.0
"""The items of a source in a table on the disk: there may be more of them than memory holds."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from isthmus.datasets.sources import Item, Source

AGAIN = "another sample has this key, and is the one that was kept"


class Listing:
    """Items in the order of their source, each with a key of its own; those whose key came before are broken."""

    def __init__(self, source: Source) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="isthmus-", suffix=".sqlite")  # noqa: SIM115, until `__exit__`
        self._table = sqlite3.connect(self._file.name, isolation_level=None)
        for line in (
            "PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "BEGIN",
            "CREATE TABLE items (place INTEGER PRIMARY KEY, key TEXT UNIQUE, item TEXT, bytes INTEGER, label TEXT, "
            "seen INTEGER DEFAULT 0)",
        ):  # fmt: skip
            self._table.execute(line)
        for item in source.items():
            self._add(item)

    def __enter__(self) -> "Listing":
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._file.close()

    def _add(self, item: Item) -> None:
        if not self._insert(item):
            number = 2
            while not self._insert(Item(f"{item.key} ({number})", 0, item.stamp, where=item.where, broken=AGAIN)):
                number += 1

    def _insert(self, item: Item) -> bool:
        name = item.label if isinstance(item.label, str) else None if item.label is None else ""
        values = item.key, json.dumps(item.pack()), item.bytes, name
        line = "INSERT OR IGNORE INTO items (key, item, bytes, label) VALUES (?, ?, ?, ?)"
        return self._table.execute(line, values).rowcount == 1

    def __len__(self) -> int:
        return int(self._table.execute("SELECT COUNT(*) FROM items").fetchone()[0])

    @property
    def bytes(self) -> int:
        """Of all items, as far as their source knows."""
        return int(self._table.execute("SELECT TOTAL(bytes) FROM items").fetchone()[0])

    @property
    def names(self) -> list[str]:
        """Of labels that are names, sorted."""
        found = self._table.execute("SELECT DISTINCT label FROM items WHERE label IS NOT NULL AND label != ''")
        return sorted(row[0] for row in found)

    @property
    def labelled(self) -> bool:
        """Whether any item has a label."""
        return self._table.execute("SELECT 1 FROM items WHERE label IS NOT NULL LIMIT 1").fetchone() is not None

    def take(self, key: str) -> list[Any] | None:
        """The item of a key, which is seen from now on; None where there is none."""
        found = self._table.execute("SELECT place, item FROM items WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        self._table.execute("UPDATE items SET seen = 1 WHERE place = ?", (found[0],))
        return list(json.loads(found[1]))

    def has(self, key: str) -> bool:
        return self._table.execute("SELECT 1 FROM items WHERE key = ?", (key,)).fetchone() is not None

    def rest(self) -> Iterator[tuple[list[Any], int]]:
        """Items that were not taken, in order, and their bytes."""
        with closing(self._table.cursor()) as cursor:
            for text, size in cursor.execute("SELECT item, bytes FROM items WHERE seen = 0 ORDER BY place"):
                yield json.loads(text), size

    def spread(self, count: int) -> list[list[Any]]:
        """So many items at even distances."""
        step = max(1, len(self) // max(1, count))
        found = self._table.execute("SELECT item FROM items WHERE place % ? = 0 LIMIT ?", (step, count))
        return [json.loads(row[0]) for row in found]
