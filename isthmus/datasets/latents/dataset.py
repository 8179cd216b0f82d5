# SPDX-License-Identifier: Apache-2.0
"""Latents of a whole data set by their index, for torch's DataLoader as it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from operator import index as as_index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from isthmus.codecs.base import Codec
from isthmus.datasets.latents.analysed import AnalysedSource
from isthmus.datasets.latents.batch import PlaneBatch, Sample, Samples, collate
from isthmus.datasets.latents.cache_file import CacheFile
from isthmus.datasets.latents.reader import Reader
from isthmus.datasets.latents.scale import Scaled
from isthmus.datasets.latents.sources import Source, StoredSource
from isthmus.datasets.latents.stored.rows import StoredRows, check_index
from isthmus.datasets.manifest import NAME as MANIFEST
from isthmus.datasets.storage import Place

FILL = 1024  # samples that `cache` unpacks at once, at most


class LatentDataset(Scaled, Dataset[Sample]):
    """A data set of latents, map-style: `len(data)`, `data[i]`, `DataLoader(data, batch_size=256, shuffle=True)`.

    A sample is a dict: every plane by its name ("y" of images [c, h, w], of sound [c, frames]) as integers of the
    smallest dtype that holds all values of the data set, int8 mostly, as the manifest says; "key", its name; "view" and
    "label" (int, -100 for none) where the data set has them. A batch of indices is read and unpacked in one call.

    path: what `isthmus transcode` wrote, a folder or an fsspec URL; or what it takes, a folder of files, a table, ...,
    which `codec` encodes as it is asked for, with its options (quality=50), resize= and crop=. codec: else the weights
    file that unpacks a set whose tables are not at hand. cache: a file that is filled while samples are read, and read
    from then on; see `cache`. partial: read what is done of a set that is not finished. columns: those wanted of key,
    view, label, height, width and what was passed through. transform: applied to each sample.

    Raises UnreadableFileError where there is no such data set, CorruptStreamError for a manifest, a shard or a stream
    that is damaged, cut or not what the manifest says, WeightsMismatchError without the tables, MissingExtraError
    without pyarrow, ValueError or TypeError for wrong arguments. Shards are checked when they are first opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        codec: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        partial: bool = False,
        columns: Sequence[str] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        **options: Any,
    ) -> None:
        self.path, self.transform = str(path), transform
        self._source: Source = source_of(path, codec, partial, columns, options)
        self._cache: CacheFile | None = None
        if cache is not None:
            self._cache = self._opened(Path(cache))
            self._cache.seal()

    def _opened(self, path: Path) -> CacheFile:
        layout = {} if path.exists() else self._source.layout()
        return CacheFile(path, self._source.fingerprint, len(self), layout)

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r}, {len(self)} samples of {self.kind})"

    @property
    def kind(self) -> str:
        """ "image", "audio" or what else was encoded."""
        return self._source.kind

    @property
    def codec(self) -> Codec:
        """What unpacks the streams. Raises WeightsMismatchError where its tables are not at hand."""
        return self._source.codec

    @property
    def classes(self) -> list[str] | None:
        """Names of the labels; None without names."""
        return self._source.classes

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all samples, int64 [n], -100 for none; read from all shards."""
        return self._source.labels()

    def column(self, name: str) -> list[Any]:
        """A column of all samples, also one that was passed through; read from all shards. Raises ValueError."""
        return self._source.column(name)

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What samples come with beside their planes, of all: key, view and label, or the columns that are wanted."""
        return self._source.facts(range(len(self)))

    @property
    def shapes(self) -> dict[str, tuple[int, ...] | None]:
        """By plane, what all samples have, [c, h, w] or [c, frames]; None where they differ, or nobody knows."""
        return {name: tuple(told["shape"]) if told["shape"] else None for name, told in self._source.layout().items()}

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, others when anything in the data set is."""
        return self._source.fingerprint

    @property
    def origin(self) -> dict[str, Any]:
        """`codec` (name, tables_hash, weights_hash), `settings` and `sources`, as a manifest has them."""
        return self._source.origin()

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Sizes before encoding, [n, 2] of height and width or [n, 1] of samples of sound; read from all shards."""
        return self._source.sizes()

    def __getitem__(self, place: int) -> Sample:
        """Sample `place`; negative ones count from the end. Raises IndexError, and see the class."""
        return self.__getitems__([check_index(as_index(place), len(self))])[0]

    def __getitems__(self, places: Sequence[int]) -> Samples:
        """Samples of a batch, in order; torch's DataLoader asks for these."""
        indices = np.asarray(places, np.int64)
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(self)):
            indices = np.array([check_index(i, len(self)) for i in indices.tolist()], np.int64)
        batch = self._planes(indices)
        made = Samples({**planes, **fact} for planes, fact in zip(batch.each, self._source.facts(indices), strict=True))
        if self.transform is not None:
            return Samples(self.transform(sample) for sample in made)
        made.stacked = batch.stacked
        return made

    def _planes(self, indices: NDArray[np.int64]) -> PlaneBatch:
        if self._cache is None:
            return self._source.planes(indices)
        missing = indices[~self._cache.present(indices)]
        if len(missing):
            self._cache.store(missing, self._source.planes(missing).each)
        return self._cache.read(indices)

    def cache(self, path: str | os.PathLike[str], progress: Callable[[int], Any] | None = None) -> LatentDataset:
        """Fills a file with all latents as plain integers, and reads from it from then on; gives the data set itself.

        int8 where all values fit, one array where all shapes agree. What a killed call left goes on. progress: told of
        how many samples were added. Raises UnwritableFileError, and UnreadableFileError where there is a cache of
        another data set, or of another state of this one.
        """
        file = self._opened(Path(path))
        step = self._source.at_once(FILL)
        for start in range(0, len(self), step):
            indices = np.arange(start, min(start + step, len(self)))
            missing = indices[~file.present(indices)]
            if len(missing):
                file.store(missing, self._source.planes(missing).each)
            if progress is not None:
                progress(len(indices))
        file.seal()
        self._cache = file
        return self

    collate = staticmethod(collate)

    def stream(self, place: int) -> bytes:
        """Sample `place` as a whole stream, as `isthmus.decode` takes it."""
        return self._source.stream(check_index(as_index(place), len(self)))

    def to_samples(self, place: int, **options: Any) -> Any:
        """Sample `place` decoded, for a look: image uint8 [3, H, W], sound float32 [C, T].

        options: of the codec's `decode`, such as output="pil". Where the weights of the data set do not ship, what the
        linear half alone gives, with a warning; raises WeightsMismatchError where that is not at hand either.
        """
        return self._source.samples(check_index(as_index(place), len(self)), options)


def source_of(
    path: Any, codec: str | None, partial: bool, columns: Sequence[str] | None, options: dict[str, Any]
) -> Source:
    """What `path` means: a data set of latents, or, with a codec, samples to encode."""
    is_made = not hasattr(path, "features") and Place(path).size(MANIFEST) is not None
    if codec is not None and not is_made:
        if columns is not None or partial:
            raise ValueError(f"{path}: columns and partial are of transcoded data sets, and here is no {MANIFEST}")
        return AnalysedSource(path, codec, options)
    if options:
        raise TypeError(f"{path}: {', '.join(options)}: options are for files that are encoded, these are latents")
    place = Place(path)
    rows = StoredRows(place, partial=partial, columns=columns)
    return StoredSource(rows, Reader(place, rows.manifest, codec))
