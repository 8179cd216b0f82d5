# SPDX-License-Identifier: Apache-2.0
"""safetensors files read strictly: mapped, every length checked, nothing taken on trust.

Format: eight bytes with the length of a JSON header, the header, then the tensors' bytes, without gaps or overlaps.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat.dtypes import size_of
from isthmus.errors import CorruptStreamError, UnreadableFileError

if TYPE_CHECKING:
    from torch import Tensor

HEADER_LIMIT = 100_000_000
METADATA = "__metadata__"
_DTYPE = re.compile(r"[A-Z0-9_]{1,16}")
OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer and not the file itself: fetch that with `git lfs pull`",
    b"PK\3\4": "a zip archive, as PyTorch writes it: save its tensors with safetensors.torch.save_file first",
    b"GGUF": "a GGUF file, not a safetensors file",
}


MOST_DIMENSIONS = 64  # of a tensor of torch


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file: data[begin:end] are its bytes, counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A header, checked by itself. tensors: in the order of their bytes. data_bytes: what the tensors take in all."""

    tensors: tuple[StoredTensor, ...]
    metadata: dict[str, str]

    @property
    def data_bytes(self) -> int:
        return self.tensors[-1].end if self.tensors else 0


def parse_header(raw: bytes, path: str) -> Header:
    """The header of a file; `path` is for messages. Raises CorruptStreamError naming the tensor that is wrong."""
    try:
        table = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise CorruptStreamError(f"{path}: the header is not JSON of a safetensors file: {error}") from None
    try:
        json.dumps(table, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # half a surrogate pair
        raise CorruptStreamError(f"{path}: the header has text that is not Unicode; fetch the file again") from None
    if not isinstance(table, dict):
        raise CorruptStreamError(f"{path}: the header is a JSON {type(table).__name__}, expected an object")
    metadata = table.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CorruptStreamError(f"{path}: {METADATA} must be an object of strings")
    tensors = sorted((_parse(name, entry, path) for name, entry in table.items()), key=lambda t: (t.begin, t.end))
    at = 0
    for tensor in tensors:
        if tensor.begin != at:
            what = "overlaps the tensor before it" if tensor.begin < at else f"leaves a gap behind byte {at}"
            raise CorruptStreamError(f"{path}: tensor {tensor.name!r} at bytes {tensor.begin} to {tensor.end} {what}")
        at = tensor.end
    return Header(tuple(tensors), metadata)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _parse(name: str, entry: Any, path: str) -> StoredTensor:
    """A tensor's entry. Where the dtype is not known to this version, its bytes are whatever the offsets say."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
        whole = all(type(n) is int and 0 <= n < 1 << 62 for n in numbers) and len(entry) == 3
        whole = whole and len(shape) <= MOST_DIMENSIONS
        if not whole or not _DTYPE.fullmatch(dtype):
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise CorruptStreamError(
            f"{path}: tensor {name!r} has the entry {str(entry)[:200]}, expected dtype, shape and data_offsets"
        ) from None
    try:
        size = size_of(dtype, tuple(shape))
    except ValueError as error:
        raise CorruptStreamError(f"{path}: tensor {name!r} of {error}") from None
    if end < begin or size not in (None, end - begin):
        raise CorruptStreamError(
            f"{path}: tensor {name!r} of {dtype} {shape} has bytes {begin} to {end}, which are not its size"
        )
    return StoredTensor(name, dtype, tuple(shape), begin, end)


def _other_kind(first: bytes, length: int, size: int) -> str:
    """What a file of so many bytes is that begins so: its header would have more bytes than there are or may be."""
    for start, kind in OTHERS.items():
        if first.startswith(start):
            return f"is {kind}"
    if length > HEADER_LIMIT:
        return f"is no safetensors file: it begins with {first[:8]!r}, where the length of a header should be"
    return f"a header of {length} bytes is announced, {size - 8} bytes are there: it is cut, or no safetensors file"


class SafetensorsFile:
    """A mapped file. `header_bytes`: the header as it is there, padding included; `header`: what it says."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            size = self.path.stat().st_size
            self.bytes: Bytes = np.memmap(self.path, np.uint8, "r").view(np.ndarray) if size else np.empty(0, np.uint8)
        except OSError as error:
            raise UnreadableFileError(f"{path}: cannot be read: {error.strerror or error}") from error
        if size < 8:
            raise CorruptStreamError(f"{path}: {size} bytes are no safetensors file; fetch it again")
        length = int(self.bytes[:8].view("<u8")[0])
        if length > min(HEADER_LIMIT, size - 8):
            raise CorruptStreamError(f"{path}: {_other_kind(self.bytes[:32].tobytes(), length, size)}")
        self.header_bytes = self.bytes[8 : 8 + length].tobytes()
        self.header = parse_header(self.header_bytes, str(path))
        self._data = self.bytes[8 + length :]
        if self.header.data_bytes > len(self._data):
            cut = next(t for t in self.header.tensors if t.end > len(self._data))
            raise CorruptStreamError(
                f"{path}: is cut within tensor {cut.name!r}: {self.header.data_bytes} bytes of tensors are announced, "
                f"{len(self._data)} are there; fetch it again"
            )
        if self.header.data_bytes < len(self._data):
            raise CorruptStreamError(
                f"{path}: {len(self._data) - self.header.data_bytes} bytes follow the last tensor; it is damaged, "
                "fetch it again"
            )
        self.tensors = {tensor.name: tensor for tensor in self.header.tensors}

    def data(self, name: str) -> Bytes:
        """The bytes of a tensor, uint8 [n], read-only and mapped."""
        tensor = self.tensors[name]
        return self._data[tensor.begin : tensor.end]

    def tensor(self, name: str) -> "Tensor":
        """A copy of a tensor. Raises CorruptStreamError for a dtype that torch has not, KeyError for another name."""
        entry = self.tensors[name]
        return torch_tensor(self.data(name).copy(), entry, self.path)


def torch_tensor(bits: NDArray[Any], entry: StoredTensor, path: Path) -> "Tensor":
    """The bit patterns of an entry as a tensor; memory is shared. Raises CorruptStreamError where torch has no such."""
    from isthmus.codecs.dfloat.tensors import has_dtype, tensor_of  # torch is loaded only where it is needed

    if not has_dtype(entry.dtype):
        raise CorruptStreamError(
            f"{path}: tensor {entry.name!r} is {entry.dtype}, which the installed torch has no dtype for; its bytes "
            "are kept as they are"
        )
    try:
        return tensor_of(bits, entry.dtype, entry.shape)
    except ValueError as error:
        raise CorruptStreamError(f"{path}: tensor {entry.name!r}: {error}") from None
