# SPDX-License-Identifier: Apache-2.0
"""What a file of weights holds, tensor by tensor: bits a weight as stored, and the order-0 entropy of its bytes."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat.decoder import RUN, Decoder
from isthmus.codecs.dfloat.dtypes import CODED, UINT
from isthmus.codecs.dfloat.payload import CODINGS
from isthmus.errors import CorruptStreamError
from isthmus.kernels.weights import planes as weight_planes
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.names import MARK
from isthmus.weights.folders.tree import read_tree, require_shards
from isthmus.weights.folders.weight_files import weight_files
from isthmus.weights.safetensors_file import SafetensorsFile, StoredTensor

PROMISING = 7.6  # bits a byte, from which on a plane of mantissa is counted as 8: coding it costs more than it brings

Planes = Callable[[int], list[Bytes]]  # the planes of a run


@dataclass(frozen=True)
class TensorReport:
    """A tensor. bytes: of the original; stored_bytes: as it lies in the file. codings: of each plane, empty if raw.

    entropy_bits: bits a weight of the order-0 entropy of its planes (first bytes of all weights, second ones, ...), one
    table for the whole tensor, those that are nearly uniform as they are; None for dtypes that are not coded. No bound:
    rans has a table for each 2**18 weights, so it can take less where a tensor changes within.
    """

    file: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    stored_bytes: int
    codings: tuple[str, ...]
    entropy_bits: float | None

    @property
    def weights(self) -> int:
        return prod(self.shape)

    @property
    def stored_bits(self) -> float:
        """Bits a weight as stored; 0 for no weights."""
        return 8 * self.stored_bytes / self.weights if self.weights else 0.0


def inspect(src: str | os.PathLike[str]) -> list[TensorReport]:
    """Reports on every tensor of a file or folder of weights, compressed or not; reads all of it.

    Of a folder, and of each folder in it, those are the model's: variants beside an index are left out.

    Raises UnreadableFileError, and CorruptStreamError naming the file and the tensor.
    """
    tree = require_shards(read_tree(Path(src)))
    folders = sorted({shard.parent for shard in tree.shards}) if tree.is_folder else []
    files = [path for folder in folders for path in weight_files(folder)] if folders else tree.shards
    return [row for path in files for row in _inspect_file(path)]


def _inspect_file(path: Path) -> Iterator[TensorReport]:
    file = SafetensorsFile(path)
    if MARK not in file.header.metadata:
        for t in file.header.tensors:
            yield _report(path, t, t.end - t.begin, (), _bits(t, file.data(t.name)))
        return
    made = WeightFile(path)
    for t in made.original.values():
        stored = made.stored(t.name)
        if made.is_coded(t.name):
            payload = made.payload(t.name)
            decoder = Decoder(payload)
            codings = tuple(CODINGS[plane.coding] for plane in payload.planes)
            try:
                entropy = _entropy(payload.count, payload.width, _decoded(decoder, payload.count, payload.width))
            except CorruptStreamError as error:
                raise CorruptStreamError(f"{path}: tensor {t.name!r}: {error}") from None
            yield _report(path, t, len(stored), codings, entropy)
        else:
            yield _report(path, t, len(stored), (), _bits(t, stored))


def _report(path: Path, t: StoredTensor, stored: int, codings: tuple[str, ...], bits: float | None) -> TensorReport:
    return TensorReport(path.name, t.name, t.dtype, t.shape, t.end - t.begin, stored, codings, bits)


def _decoded(decoder: Decoder, count: int, width: int) -> Planes:
    def planes(run: int) -> list[Bytes]:
        found = [np.empty(min(RUN, count - run * RUN), np.uint8) for _ in range(width)]
        for number, plane in enumerate(found):
            decoder.plane(number, run, plane)
        return found

    return planes


def _bits(t: StoredTensor, data: Bytes) -> float | None:
    """`entropy_bits` of a raw tensor."""
    if t.dtype not in CODED:
        return None
    weights = data.view(UINT[CODED[t.dtype]])
    width = weights.itemsize

    def planes(run: int) -> list[Bytes]:
        part = np.array(weights[run * RUN : (run + 1) * RUN])
        if width == 1:
            return [part]
        found = [np.empty(len(part), np.uint8) for _ in range(width)]
        (weight_planes.split2 if width == 2 else weight_planes.split4)(part, *found)
        return found

    return _entropy(len(weights), width, planes)


def _entropy(count: int, width: int, planes: Planes) -> float:
    counts = np.zeros((width, 256), np.int64)
    for run in range(-(-count // RUN)):
        for number, plane in enumerate(planes(run)):
            counts[number] += np.bincount(plane, minlength=256)
    found = [_entropy_of(row) for row in counts]
    return sum(bits if number == 0 or bits < PROMISING else 8.0 for number, bits in enumerate(found))


def _entropy_of(counts: NDArray[np.int64]) -> float:
    some = counts[counts > 0]
    p = some / max(1, int(some.sum()))
    return float(-(p * np.log2(p)).sum()) if len(some) else 0.0


def total(rows: list[TensorReport]) -> dict[str, float]:
    """Sums: tensors, weights, bytes, stored_bytes, and the share that is left; bits a weight over the coded dtypes."""
    size, stored = sum(row.bytes for row in rows), sum(row.stored_bytes for row in rows)
    floats = [row for row in rows if row.entropy_bits is not None]
    weights = sum(row.weights for row in floats)
    return {
        "tensors": len(rows),
        "weights": sum(row.weights for row in rows),
        "bytes": size,
        "stored_bytes": stored,
        "share": stored / size if size else 1.0,
        "stored_bits": 8 * sum(row.stored_bytes for row in floats) / max(1, weights),
        "entropy_bits": sum((row.entropy_bits or 0) * row.weights for row in floats) / max(1, weights),
    }
