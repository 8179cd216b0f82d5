# SPDX-License-Identifier: Apache-2.0
"""All that decides the bytes of a shard beside its source."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

FORMATS = ("parquet", "tar")


def digest(value: Any) -> str:
    """16 hexadecimal digits of a JSON value (docs/format-dataset.md)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Settings:
    """How samples become rows.

    codec: name of the revision, never one that moves, and `weights`, what a file of weights is known by. options: of
    encoding and of reading files. views: what is stored beside each image as it is: "hflip", "vflip", "crops:4".
    resize: pixels of the shorter side; crop: of the square in the middle. format: of shards, "parquet" or "tar".
    """

    codec: str
    kind: str
    weights: str
    options: dict[str, Any] = field(default_factory=dict)
    views: tuple[str, ...] = ()
    resize: int | None = None
    crop: int | None = None
    format: str = "parquet"

    def describe(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "views": list(self.views)}

    @property
    def digest(self) -> str:
        return digest(self.describe())

    def differences(self, others: dict[str, Any]) -> list[str]:
        """In words, what differs from the settings of a manifest."""
        own = self.describe()
        names = sorted(own.keys() | others.keys())
        return [f"{n} {others.get(n)!r}, asked for {own.get(n)!r}" for n in names if own.get(n) != others.get(n)]
