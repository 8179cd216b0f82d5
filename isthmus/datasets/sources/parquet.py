# SPDX-License-Identifier: Apache-2.0
"""Parquet files with a column of images or sound, as Hugging Face writes them, or of plain bytes."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from isthmus.datasets.shards.info import KEY
from isthmus.datasets.shards.parquet import open_parquet, pyarrow
from isthmus.datasets.sources.base import RESERVED, ContainerSource, Found, Item, is_label, known_label, left_out
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, UnreadableFileError

MEDIA = ("image", "img", "jpg", "png", "audio", "sound", "bytes")  # columns that are looked for first
KEYS = ("key", "__key__")  # other columns, and paths beside bytes, often come again
KEPT = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float", "double", "string")


class ParquetSource(ContainerSource):
    """Rows of Parquet files, in order. Bytes in a column of {bytes, path} or of binary; `label`; others are kept."""

    what = "rows"

    def __init__(self, place: Place, names: list[str]) -> None:
        self.place, self.names = place, names
        self.description: Any = {"parquet": place.url, "names": names}
        where = place.name(names[0])
        with self._open(names[0]) as file:
            layout = file.schema_arrow
            if KEY.encode() in (file.metadata.metadata or {}):
                raise UnreadableFileError(f"{where}: holds latents already; expected images or sound")
        self.column = _media_column(layout, where)
        plain = {f.name: str(f.type).replace("large_", "") for f in layout if f.name != self.column}
        self.key = next((name for name in KEYS if plain.get(name) in KEPT), None)
        self.label = "label" if is_label(plain.get("label"), where) else None
        self.classes = _class_names(layout, self.label)
        self.columns = {n: kind for n, kind in plain.items() if kind in KEPT and n not in (*RESERVED, self.key)}
        self.note = left_out(f"{n} ({kind})" for n, kind in plain.items() if kind not in KEPT and n != self.label)
        self._kept: tuple[str, int, Any] | None = None  # name, row group, its column

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def _open(self, name: str) -> Any:
        try:
            return open_parquet(self.place, name)
        except CorruptStreamError as error:
            raise UnreadableFileError(str(error).removesuffix(": make it again")) from error

    def within(self, name: str) -> Iterator[Item]:
        wanted = [name for name in (self.key, self.label, *self.columns) if name]
        row, stamp = 0, self.place.stamp(name)
        with self._open(name) as file:
            if self.column not in file.schema_arrow.names:
                raise UnreadableFileError(f"{self.place.name(name)}: no column {self.column!r}, as the file before has")
            for group in range(file.metadata.num_row_groups):
                about = file.metadata.row_group(group)
                size = about.total_byte_size // max(1, about.num_rows)
                told = file.read_row_group(group, wanted).to_pylist() if wanted else [{}] * about.num_rows
                for place, values in enumerate(told):
                    key = values.get(self.key) if self.key else None
                    columns = {n: values.get(n) for n in self.columns}
                    label = known_label(values.get(self.label)) if self.label else None
                    fallback = f"{PurePosixPath(name).stem}-{row:08d}"
                    yield Item(
                        str(fallback if key in (None, "") else key), size, stamp, label, [name, group, place], columns
                    )
                    row += 1

    def find(self, item: Item) -> Found:
        name, group, place = item.where
        if self._kept is None or self._kept[:2] != (name, group):
            try:
                with self._open(name) as file:
                    self._kept = name, group, file.read_row_group(group, [self.column]).column(0)
            except (pyarrow().ArrowException, OSError) as error:
                raise UnreadableFileError(f"{self.place.name(name)}: row group {group} is damaged: {error}") from error
        value = self._kept[2][place].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        told = value.get("path") if isinstance(value, dict) else None
        if not data:
            rest = f", only the path {told!r}: give the datasets.Dataset itself, in Python, or a table of paths"
            raise UnreadableFileError(f"{item.key}: no bytes" + (rest if told else ""))
        return Found(data, PurePosixPath(told or item.key).suffix)


def _media_column(layout: Any, name: str) -> str:
    """Which column holds the samples, as binary or as a struct of {bytes, path}."""
    pa = pyarrow()
    nested = [f.name for f in layout if pa.types.is_struct(f.type) and {"bytes", "path"} <= {g.name for g in f.type}]
    plain = [f.name for f in layout if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
    known = [n for n in MEDIA if n in nested + plain]
    found = known or nested or plain
    if not found or (not known and len(found) > 1):
        raise UnreadableFileError(
            f"{name}: " + (f"several columns of bytes ({', '.join(found)})" if found else "no column of bytes")
            + f"; expected one of images or sound, called {', '.join(MEDIA[:4])} ...; it has {', '.join(layout.names)}"
        )  # fmt: skip
    return found[0]


def _class_names(layout: Any, label: str | None) -> list[str] | None:
    """What Hugging Face writes beside the columns."""
    try:
        told = json.loads((layout.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
        return told if isinstance(told, list) and all(isinstance(name, str) for name in told) else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
