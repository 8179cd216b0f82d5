# SPDX-License-Identifier: Apache-2.0
"""manifest.json: what a data set is (docs/format-dataset.md, "Manifest")."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite, prod
from typing import Any

from isthmus.codecs.registry import shipped
from isthmus.datasets.settings import FORMATS, digest
from isthmus.datasets.shards.info import DTYPES
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, UnreadableFileError

NAME, VERSION = "manifest.json", 1
LIMIT = 1 << 28  # bytes
MOST_NUMBERS = 1 << 40  # of a latent
_TYPES: dict[str, Any] = {
    "kind": str, "complete": bool, "codec": dict, "settings": dict, "columns": dict, "planes": dict, "sources": list,
    "shards": list, "classes": (list, type(None)),
}  # fmt: skip  # the others are int


@dataclass(frozen=True)
class Listed:
    """One shard, as the manifest lists it; `file` within the data set, `count` rows."""

    file: str
    count: int
    bytes: int
    sha256: str


@dataclass
class Manifest:
    """See docs/format-dataset.md. Without `complete` the shards are those that a job before had made."""

    kind: str
    codec: dict[str, Any]
    settings: dict[str, Any]
    complete: bool = False
    classes: list[str] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    count: int = 0
    lost: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    planes: dict[str, Any] = field(default_factory=dict)
    sources: list[Any] = field(default_factory=list)
    shards: list[Listed] = field(default_factory=list)

    @property
    def settings_digest(self) -> str:
        return digest(self.settings)

    def write(self, place: Place) -> None:
        """Raises UnwritableFileError."""
        place.write(NAME, self._pack())

    def create(self, place: Place) -> bool:
        """Writes it unless there is one already; says whether. Raises UnwritableFileError."""
        return place.create(NAME, self._pack())

    def _pack(self) -> bytes:
        return json.dumps({"isthmus": VERSION, **asdict(self)}, indent=1, ensure_ascii=False).encode()

    @classmethod
    def read(cls, place: Place) -> "Manifest":
        """Raises UnreadableFileError where there is none, CorruptStreamError for one that is none."""
        size = place.size(NAME)
        if size is None:
            raise UnreadableFileError(
                f"{place.url}: no data set of latents, it has no {NAME}: make one with `isthmus transcode SRC DST`"
            )
        try:
            if size > LIMIT:
                raise ValueError(f"{size} bytes, at most {LIMIT} are read")
            return cls._of(json.loads(place.read(NAME)))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise CorruptStreamError(
                f"{place.name(NAME)}: damaged, or not of a data set of latents: {error}"
            ) from error

    @classmethod
    def _of(cls, told: Mapping[str, Any]) -> "Manifest":
        found = dict(told)
        version = found.pop("isthmus", None)
        if version != VERSION:
            raise ValueError(f"version {version!r}, this isthmus reads {VERSION}")
        made = cls(**{**found, "shards": [Listed(**shard) for shard in found["shards"]]})
        for name in cls.__annotations__:
            expected = _TYPES.get(name, int)
            if not isinstance(getattr(made, name), expected):
                raise TypeError(f"{name} is {type(getattr(made, name)).__name__}, expected {expected}")
        if made.settings.get("format") not in FORMATS:
            raise ValueError(f"format {made.settings.get('format')!r}, expected one of {FORMATS}")
        for shard in made.shards:
            parts = shard.file.split("/")
            if len(parts) != 2 or parts[0] != "data" or parts[1].startswith("."):  # it may be from anywhere
                raise ValueError(f"shard {shard.file!r}, expected data/NAME")
            if type(shard.count) is not int or type(shard.bytes) is not int or min(shard.count, shard.bytes) < 0:
                raise TypeError(f"shard {shard.file}: count {shard.count!r}, bytes {shard.bytes!r}")
        _check_planes(made.planes)
        if not all(isinstance(v, str) for v in made.columns.values()):
            raise TypeError(f"columns {made.columns}, expected a type of each")
        if not isinstance(made.codec.get("tables_hash"), dict | None):
            raise TypeError(f"tables_hash {made.codec['tables_hash']!r}")
        if sum(shard.count for shard in made.shards) != made.count:
            raise ValueError(f"{made.count} samples, its shards have {sum(s.count for s in made.shards)}")
        return made


def codec_there(place: Place) -> str | None:
    """The codec of the data set at a place, if there is one, and it ships. Raises CorruptStreamError."""
    if place.size(NAME) is None:
        return None
    ships = shipped(str(Manifest.read(place).settings.get("codec")))
    return ships.label if ships else None


def _check_planes(planes: dict[str, Any]) -> None:
    """Raises TypeError or ValueError for what cannot be said of a plane; it decides how memory is laid out."""
    for name, plane in planes.items():
        if not isinstance(plane, dict) or plane.get("dtype") not in DTYPES:
            raise ValueError(f"plane {name}: dtype is none of {', '.join(DTYPES)}")
        shape = plane.get("shape")
        if shape is not None and (
            not isinstance(shape, list)
            or not 1 <= len(shape) <= 4
            or any(type(n) is not int or n < 0 for n in shape)
            or prod(shape) > MOST_NUMBERS
        ):
            raise ValueError(f"plane {name}: shape {shape!r}")
        channels = set()
        for what in ("mean", "std", "step"):
            values = plane.get(what)
            if values is None:
                continue
            if not isinstance(values, list) or any(type(v) not in (int, float) or not isfinite(v) for v in values):
                raise ValueError(f"plane {name}: {what} is no list of numbers")
            channels.add(len(values))
        if len(channels) > 1 or (shape and channels - {shape[0]}) or (plane.get("mean") and not plane.get("std")):
            raise ValueError(f"plane {name}: mean, std and step are not of as many channels")
