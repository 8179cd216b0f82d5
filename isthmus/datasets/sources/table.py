# SPDX-License-Identifier: Apache-2.0
"""A CSV or JSONL file that lists samples: a column of paths, perhaps a label, and whatever else is to be kept."""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG
from typing import Any

from isthmus.datasets.sources.base import RESERVED, Found, Item, Label, Source, known_label
from isthmus.errors import UnreadableFileError

PATHS = ("path", "file", "file_name", "filename", "image", "audio")
TYPES = {bool: "bool", int: "int64", float: "double", str: "string"}
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # halves of characters, which may be alone
WHOLE = range(-(1 << 63), 1 << 63)  # numbers that columns and labels hold; greater ones are text


class TableSource(Source):
    """Columns: one of `PATHS` (relative to the table, or absolute), `label` if there is one, `key` if paths shall not
    be the keys; the others are passed through, as text from CSV."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))
        self.description: Any = {"table": str(self.path)}
        self.columns = {}
        names: dict[str, str] = {}
        labels: set[str] = set()
        for number, row in self._rows():
            for name, value in row.items():
                kind = "string" if type(value) is int and value not in WHOLE else TYPES.get(type(value))
                if value is not None and kind is None:
                    raise self._wrong(
                        number, f"{name} is a {type(value).__name__}; expected text, numbers, true or false"
                    )
                if kind and names.setdefault(name, kind) != kind:
                    names[name] = "double" if {names[name], kind} == {"int64", "double"} else "string"
            if isinstance(row.get("label"), str):
                labels.add(row["label"])
        self.name = next((name for name in PATHS if name in names), "")
        if not names:
            raise UnreadableFileError(f"{path}: no rows")
        if not self.name:
            raise UnreadableFileError(
                f"{path}: no column of paths; expected one of {', '.join(PATHS)}: it has {', '.join(names)}"
            )
        self.named = not all(_is_whole(label) for label in labels)
        self.columns = {n: kind for n, kind in names.items() if n not in (*RESERVED, self.name)}

    def _wrong(self, number: int, why: str) -> UnreadableFileError:
        return UnreadableFileError(f"{self.path}: row {number}: {why}")

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as file:
                if self.path.suffix.lower() == ".csv":
                    rows = csv.DictReader(file)
                    again = [name for name, count in Counter(rows.fieldnames or ()).items() if count > 1]
                    if again:
                        raise self._wrong(0, f"two columns are called {again[0]!r}")
                    for number, row in enumerate(rows, 1):
                        if None in row or None in row.values():
                            raise self._wrong(number, "more or fewer cells than the first line has names")
                        yield number, dict(row)
                    return
                for number, line in enumerate(file, 1):
                    if line.strip():
                        found = json.loads(line)
                        if SURROGATE.search(line):
                            json.dumps(found, ensure_ascii=False).encode()  # else it fails where nobody knows the row
                        if not isinstance(found, dict):
                            raise self._wrong(number, f"a JSON {type(found).__name__}; expected an object")
                        yield number, found
        except OSError as error:
            raise UnreadableFileError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except (UnicodeDecodeError, csv.Error, ValueError, RecursionError) as error:
            raise UnreadableFileError(
                f"{self.path}: not a table of text ({error}); expected CSV or JSONL in UTF-8"
            ) from error

    def items(self) -> Iterator[Item]:
        found = False
        for number, row in self._rows():
            found, path = True, row.get(self.name)
            columns = {n: self._typed(n, row.get(n)) for n in self.columns}
            key = str(row["key"]) if row.get("key") not in (None, "") else str(path)
            label = self._label(row.get("label"), number)
            if not isinstance(path, str) or not path:
                yield Item(f"row {number}", 0, 0, label, "", columns, "no path")
                continue
            try:
                about = os.stat(self.path.parent / path)
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                yield Item(key, 0, 0, label, path, columns, f"cannot be read: {why}")
                continue
            if not (S_ISREG(about.st_mode) or S_ISDIR(about.st_mode)):  # which might never end; readers name folders
                yield Item(key, 0, 0, label, path, columns, "a pipe or a device, not a file")
                continue
            yield Item(key, about.st_size, about.st_mtime_ns, label, path, columns)
        if not found:
            raise UnreadableFileError(f"{self.path}: no rows")

    def _typed(self, name: str, value: Any) -> Any:
        kind = self.columns[name]
        if value is None or (type(value) is str and kind != "string"):
            return None
        return str(value) if kind == "string" else float(value) if kind == "double" else value

    def _label(self, value: Any, number: int) -> Label:
        if value is None or value == "":
            return None
        if self.named:
            return str(value)
        if (isinstance(value, float) and not value.is_integer()) or isinstance(value, bool):
            raise self._wrong(number, f"label {value!r}; expected a whole number or a name")
        if int(value) not in WHOLE:
            raise self._wrong(number, f"label {value!r}; expected less, or a name")
        return known_label(int(value))

    def find(self, item: Item) -> Found:
        return Found(self.path.parent / item.where, PurePosixPath(item.where).suffix)


def _is_whole(text: str) -> bool:
    return not text or (re.fullmatch(r"\s*-?[0-9]{1,20}\s*", text) is not None and int(text) in WHOLE)
