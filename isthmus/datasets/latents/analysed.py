# SPDX-License-Identifier: Apache-2.0
"""Files that are analysed when they are asked for: latents without a job before."""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.resizing import MOST_PIXELS
from isthmus.codecs.base import Codec, Latent
from isthmus.codecs.registry import load
from isthmus.codecs.trained import identity_of
from isthmus.datasets.latents.batch import PlaneBatch
from isthmus.datasets.latents.sources import Indices
from isthmus.datasets.latents.stored.shard import NO_LABEL
from isthmus.datasets.settings import Settings
from isthmus.datasets.shards.info import PlaneSums
from isthmus.datasets.sources import open_source
from isthmus.datasets.steps import steps
from isthmus.datasets.views import views_of
from isthmus.errors import IsthmusError, UnreadableFileError
from isthmus.media import kinds

PROBES = 64  # files that statistics are of


class AnalysedSource:
    """Whatever `transcode` takes: a folder, whose class folders become labels, a table, Parquet, tars.

    options: of encoding and of reading files, and `resize` and `crop` of images. What cannot be read is left out with
    a warning where that is known beforehand, else an error when it is asked for, UnreadableFileError.
    """

    def __init__(self, given: Any, codec: str, options: dict[str, Any]) -> None:
        self._named, self._given, self._codec = codec, str(given), None  # type: str, str, Codec | None
        self.kind = self.codec.kind
        self._source = open_source(given, self.kind)
        every = list(self._source.items())
        self._items = [item for item in every if item.broken is None]
        broken = [f"{item.key}: {item.broken}" for item in every if item.broken is not None]
        if broken:
            warnings.warn(f"{given}: {len(broken)} cannot be read and are left out ({broken[0]})", stacklevel=4)
        if self._source.note:
            warnings.warn(f"{given}: {self._source.note}", stacklevel=4)
        if not self._items:
            raise UnreadableFileError(f"{given}: nothing in it can be read")
        names = sorted({item.label for item in self._items if isinstance(item.label, str)})
        self.classes = self._source.classes or names or None
        self._labelled = any(item.label is not None for item in self._items)
        self._numbers = {name: number for number, name in enumerate(self.classes or ())}
        options = {**({"max_pixels": MOST_PIXELS} if self.kind == "image" else {}), **options}
        size = {name: options.pop(name, None) for name in ("resize", "crop")}
        weights = str(getattr(self.codec, "weights_hash", ""))
        self.settings = Settings(self.codec.name, self.kind, weights, options, **size)
        digest = hashlib.sha256(self.settings.digest.encode())
        for item in self._items:
            digest.update(json.dumps(item.pack()).encode())
        self.fingerprint = digest.hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_codec": None}

    def __len__(self) -> int:
        return len(self._items)

    @property
    def codec(self) -> Codec:
        if self._codec is None:
            self._codec = load(self._named)
        return self._codec

    def latent(self, index: int) -> Latent:
        """What the codec makes of a sample."""
        samples, asked = self.read(index)
        item = self._items[index]
        try:
            if self.kind == "image":
                _, samples = next(iter(views_of(samples, self.settings, item.key)))
            return self.codec.analyze(samples, **asked)  # type: ignore[no-any-return]
        except (IsthmusError, ValueError) as error:
            raise self._named_error(error, item.key) from error

    def read(self, index: int) -> tuple[Any, dict[str, Any]]:
        """A sample as its file has it, and what the codec is asked for with it. Raises UnreadableFileError."""
        item, options = self._items[index], dict(self.settings.options)
        try:
            with self._source.find(item).on_disk() as path:
                samples, facts = kinds.read(path, self.kind, options)
            return samples, {**facts, **options}
        except (IsthmusError, ValueError) as error:
            raise self._named_error(error, item.key) from error

    @staticmethod
    def _named_error(error: Exception, key: str) -> Exception:
        told = str(error)
        return type(error)(told if key in told else f"{key}: {told}")

    def planes(self, indices: Indices) -> PlaneBatch:
        return PlaneBatch(None, [self.latent(int(index)).planes for index in indices])

    def facts(self, indices: Indices) -> list[dict[str, Any]]:
        made = []
        for index in indices:
            item = self._items[int(index)]
            fact: dict[str, Any] = {"key": item.key}
            if self._labelled:
                label = NO_LABEL if item.label is None else item.label
                fact["label"] = self._numbers[label] if isinstance(label, str) else label
            made.append(fact)
        return made

    def layout(self) -> dict[str, dict[str, Any]]:
        found = self.latent(0).planes
        return {name: {"dtype": str(p.numpy().dtype), "shape": None, "rank": p.ndim} for name, p in found.items()}

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Of some files, spread over all: nobody has counted the rest."""
        found: dict[str, PlaneSums] = {}
        for index in sorted({int(i) for i in np.linspace(0, len(self) - 1, PROBES)}):
            latent = self.latent(index)
            for name, plane in latent.planes.items():
                found[name] = PlaneSums.of(plane.numpy()[None]).merged(found.get(name))
        factors = steps(self.codec, latent.spec.header, latent.planes)
        return {name: {**sums.describe(), "step": factors[name]} for name, sums in found.items()}

    def labels(self) -> NDArray[np.int64]:
        if not self._labelled:
            return np.full(len(self), NO_LABEL, np.int64)
        return np.array([fact["label"] for fact in self.facts(range(len(self)))], np.int64)

    def column(self, name: str) -> list[Any]:
        there = list(self._source.columns)
        if name not in there:
            raise ValueError(f"{self._given}: no column {name!r}; it has {', '.join(there) or 'none'}")
        return [item.columns.get(name) for item in self._items]

    def origin(self) -> dict[str, Any]:
        told = identity_of(self.codec)
        return {"codec": told, "settings": self.settings.describe(), "sources": [self._source.description]}

    def at_once(self, most: int) -> int:
        return 1  # no two are faster together

    def stream(self, index: int) -> bytes:
        return self.codec.pack(self.latent(index))

    def samples(self, index: int, options: dict[str, Any]) -> Any:
        return self.codec.synthesize(self.latent(index), **options)

    def sizes(self) -> NDArray[np.int64]:
        raise ValueError("sizes of files are not known before they are read: transcode them for SizeBuckets")
