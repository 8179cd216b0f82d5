# SPDX-License-Identifier: Apache-2.0
"""Data sets of Hugging Face's `datasets`, as objects in memory."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from isthmus.datasets.sources.base import RESERVED, Found, Item, Source, is_label, known_label, left_out
from isthmus.errors import UnreadableFileError

KEPT = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float32", "float64", "string")
BATCH = 1000


def is_dataset(given: Any) -> bool:
    """Whether it is one of that package, which is not imported for this."""
    return any(c.__module__.split(".")[0] == "datasets" and c.__module__ != __name__ for c in type(given).__mro__)


class HubSource(Source):
    """Rows of a `datasets.Dataset` with a column of its `Image` or `Audio`; `label`; others of plain types are kept."""

    def __init__(self, dataset: Any) -> None:
        if not hasattr(dataset, "select") or not hasattr(dataset, "cast_column"):
            raise TypeError(
                f"transcode: a {type(dataset).__name__}; expected a datasets.Dataset: choose a split with "
                'data["train"], or save what streams with to_parquet and give that file'
            )
        features = dataset.features
        media = [n for n, f in features.items() if type(f).__name__ in ("Image", "Audio")]
        if not media:
            raise UnreadableFileError(
                f"transcode: the data set has no column of images or sound: {', '.join(features)}"
            )
        self.column, self.kind = media[0], type(features[media[0]]).__name__.lower()
        self.dataset = dataset.cast_column(self.column, type(features[self.column])(decode=False))
        self.description: Any = {"dataset": dataset._fingerprint}
        plain = {n: getattr(f, "dtype", "") for n, f in features.items() if type(f).__name__ in ("Value", "ClassLabel")}
        told = plain.get("label", type(features["label"]).__name__ if "label" in features else None)
        self.label = "label" if is_label(told, "transcode") else None
        self.classes = getattr(features.get("label"), "names", None) if self.label else None
        self.columns = {
            n: {"float32": "float", "float64": "double"}.get(kind, kind)
            for n, kind in plain.items()
            if kind in KEPT and n not in RESERVED
        }
        self.note = left_out(n for n in features if n not in (self.column, self.label) and plain.get(n) not in KEPT)
        self.key = "key" if plain.get("key") == "string" else None

    def items(self) -> Iterator[Item]:
        names = [*self.columns, *([self.label] if self.label else []), *([self.key] if self.key else [])]
        table, count = self.dataset.select_columns(names) if names else None, len(self.dataset)
        if not count:
            raise UnreadableFileError("transcode: the data set has no rows")
        stamp = self.dataset._fingerprint
        for start in range(0, count, BATCH):
            part = table[start : start + BATCH] if table is not None else {}
            for place in range(start, min(start + BATCH, count)):
                values = {n: part[n][place - start] for n in names}
                label = known_label(values.get(self.label)) if self.label else None
                key = values.get(self.key) if self.key else None
                kept = {n: values[n] for n in self.columns}
                yield Item(key or f"{place:08d}", 0, stamp, label, place, kept)

    def find(self, item: Item) -> Found:
        value = self.dataset[item.where][self.column] or {}
        suffix = PurePosixPath(value.get("path") or "").suffix
        if value.get("bytes"):
            return Found(value["bytes"], suffix)
        if value.get("path"):
            return Found(value["path"], suffix)
        raise UnreadableFileError(f"{item.key}: row {item.where} has neither bytes nor a path")
