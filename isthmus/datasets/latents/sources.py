# SPDX-License-Identifier: Apache-2.0
"""Where the latents of a data set come from: streams of a transcoded one, or files that are analysed on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.bitstream.reader import read_header
from isthmus.codecs.base import Codec
from isthmus.datasets.latents.batch import PlaneBatch, narrowed
from isthmus.datasets.latents.reader import Reader
from isthmus.datasets.latents.stored.rows import StoredRows
from isthmus.datasets.latents.stored.shard import NO_LABEL
from isthmus.datasets.steps import steps
from isthmus.errors import CorruptStreamError

INTEGERS = {"int8": torch.int8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64}
Indices = Sequence[int] | NDArray[np.int64]


class Source(Protocol):
    """What a data set asks of where it comes from."""

    kind: str
    classes: list[str] | None
    fingerprint: str

    def __len__(self) -> int:
        """Samples."""

    @property
    def codec(self) -> Codec:
        """What unpacks or analyses them."""

    def planes(self, indices: Indices) -> PlaneBatch:
        """The latents of samples. Raises children of IsthmusError, which name the sample."""

    def facts(self, indices: Indices) -> list[dict[str, Any]]:
        """Key, label and further columns of samples."""

    def layout(self) -> dict[str, dict[str, Any]]:
        """By plane: dtype that holds all values, shape or None, rank."""

    def statistics(self) -> dict[str, dict[str, Any]]:
        """By plane: dtype, mean, std and step by channel, as in a manifest."""

    def labels(self) -> NDArray[np.int64]:
        """[n], NO_LABEL for none."""

    def column(self, name: str) -> list[Any]:
        """A column of all samples. Raises ValueError for one that is not there."""

    def origin(self) -> dict[str, Any]:
        """`codec`, `settings` and `sources`, as in a manifest."""

    def at_once(self, most: int) -> int:
        """How many samples to ask for at once, up to so many."""

    def stream(self, index: int) -> bytes:
        """A sample as a whole stream."""

    def samples(self, index: int, options: dict[str, Any]) -> Any:
        """A sample, decoded."""

    def sizes(self) -> NDArray[np.int64]:
        """[n, axes]: pixels, or samples of sound."""


class StoredSource:
    """Streams of a transcoded data set."""

    def __init__(self, rows: StoredRows, reader: Reader) -> None:
        self.rows, self.reader = rows, reader
        self._dtypes: dict[str, torch.dtype] | None = None
        self.kind, self.classes, self.fingerprint = rows.manifest.kind, rows.manifest.classes, rows.fingerprint

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def codec(self) -> Codec:
        return self.reader.codec

    def planes(self, indices: Indices) -> PlaneBatch:
        batch = unpack(self.rows, self.codec, indices)
        if batch.stacked is not None:
            return PlaneBatch({name: self._small(name, plane) for name, plane in batch.stacked.items()})
        each = batch.each
        return PlaneBatch(None, [{name: self._small(name, p) for name, p in planes.items()} for planes in each])

    def _small(self, name: str, plane: Tensor) -> Tensor:
        """In the dtype that holds all values of the data set: half the bytes to workers' parents and to devices."""
        if self._dtypes is None:
            told = self.rows.manifest.planes or {k: sums.describe() for k, sums in self.rows.plane_sums().items()}
            try:
                self._dtypes = {name: INTEGERS[about["dtype"]] for name, about in told.items()}
            except KeyError as error:
                raise CorruptStreamError(f"{self.rows.place.url}: the manifest has a plane without {error}") from error
        small = narrowed(plane, self._dtypes.get(name, plane.dtype))
        if small is None:
            raise CorruptStreamError(
                f"{self.rows.place.url}: plane {name} holds {int(plane.min())} to {int(plane.max())}, which is no "
                f"{self._dtypes[name]}: its manifest lies"
            )
        return small

    def facts(self, indices: Indices) -> list[dict[str, Any]]:
        return self.rows.facts(indices)

    def layout(self) -> dict[str, dict[str, Any]]:
        from isthmus.datasets.shards import read_info

        told = self.statistics()
        first = next((shard for shard in self.rows.shards if shard.count), None)  # others know no planes
        infos = read_info(self.rows.place, first.file).planes if first else {}
        if first and infos.keys() != told.keys():
            raise CorruptStreamError(f"{self.rows.place.name(first.file)}: planes {[*infos]}, expected {[*told]}")
        return {
            name: {"dtype": told[name]["dtype"], "shape": told[name].get("shape"), "rank": info.rank}
            for name, info in infos.items()
        }

    def statistics(self) -> dict[str, dict[str, Any]]:
        manifest = self.rows.manifest
        if manifest.complete and manifest.planes:
            found = {name: dict(plane) for name, plane in manifest.planes.items()}
        else:
            found = {name: sums.describe() for name, sums in self.rows.plane_sums().items()}
        if len(self) and not all("step" in plane for plane in found.values()):
            header = read_header(self.stream(0))
            for name, step in steps(self.codec, header, dict(self.planes([0]).each[0])).items():
                found[name]["step"] = step
        return found

    def labels(self) -> NDArray[np.int64]:
        if "label" not in self.rows.manifest.columns:
            return np.full(len(self), NO_LABEL, np.int64)
        return np.array(self.rows.column("label"), np.int64)

    def column(self, name: str) -> list[Any]:
        return self.rows.column(name)

    def origin(self) -> dict[str, Any]:
        manifest = self.rows.manifest
        return {"codec": dict(manifest.codec), "settings": dict(manifest.settings), "sources": manifest.sources}

    def at_once(self, most: int) -> int:
        return self.rows.at_once(most)

    def stream(self, index: int) -> bytes:
        return self.rows.payloads([index])[0]

    def samples(self, index: int, options: dict[str, Any]) -> Any:
        return self.reader.samples(self.stream(index), options)

    def sizes(self) -> NDArray[np.int64]:
        names = ["samples"] if self.kind == "audio" else ["height", "width"]
        columns = [np.array(self.rows.column(name), np.int64) for name in names]
        return np.stack(columns, 1).reshape(len(self), len(names))


def unpack(rows: StoredRows, codec: Codec, indices: Indices) -> PlaneBatch:
    """The latents of stored rows, of all at once. Raises children of IsthmusError, which name shard and row."""
    if not len(indices):
        return PlaneBatch(None, [])
    batch = codec.unpack_batch(rows.payloads(indices), errors="return")
    if batch.errors:
        place = min(batch.errors)
        raise rows.named(int(indices[place]), batch.errors[place]) from batch.errors[place]
    try:
        return PlaneBatch(batch.planes)
    except ValueError:  # of different shapes
        return PlaneBatch(None, [latent.planes for latent in batch.latents])
