# SPDX-License-Identifier: Apache-2.0
"""The checkpoint that a delta is relative to: a safetensors file, or a folder of them."""

import hashlib
from pathlib import Path

from isthmus.arrays.types import Bytes
from isthmus.errors import CorruptStreamError, WeightsMismatchError
from isthmus.weights.folders.names import MARK
from isthmus.weights.folders.weight_files import weight_files
from isthmus.weights.safetensors_file import SafetensorsFile, StoredTensor

PIECE = 1 << 24


def sha256_of(data: Bytes) -> str:
    """SHA-256 in hexadecimal, mapped pages read in order."""
    digest = hashlib.sha256()
    for begin in range(0, len(data), PIECE):
        digest.update(data[begin : begin + PIECE].data)
    return digest.hexdigest()


class BaseCheckpoint:
    """Tensors of a base by name, whichever file holds them. Raises UnreadableFileError, CorruptStreamError."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        paths = weight_files(self.path) if self.path.is_dir() else [self.path]
        self._files = {p.name: SafetensorsFile(p) for p in paths}
        for name, file in self._files.items():
            if MARK in file.header.metadata:
                raise CorruptStreamError(f"{name}: the base is compressed itself; decompress it first")
        self._hashes: dict[str, str] = {}
        self._holders = {t.name: name for name, file in self._files.items() for t in file.header.tensors}

    def holder(self, tensor: StoredTensor) -> str | None:
        """The file with a tensor of that name, dtype and shape, or None."""
        found = self._holders.get(tensor.name)
        same = self._files[found].tensors[tensor.name] if found else None
        return found if same is not None and (same.dtype, same.shape) == (tensor.dtype, tensor.shape) else None

    def data(self, file: str, name: str) -> Bytes:
        """The bytes of a tensor. Raises CorruptStreamError when it is not there."""
        if name not in self._files[file].tensors:
            raise CorruptStreamError(f"{self.path}: the base has no tensor {name!r} in {file}: the delta is damaged")
        return self._files[file].data(name)

    def sha256(self, file: str) -> str:
        """SHA-256 of a file of the base; it is read once."""
        if file not in self._hashes:
            self._hashes[file] = sha256_of(self._files[file].bytes)
        return self._hashes[file]

    def find(self, file: str, sha256: str) -> str:
        """The file of that SHA-256, `file` or, if the base was renamed, another. Raises WeightsMismatchError."""
        if file not in self._files and self.path.is_dir() and Path(file).name == file and (self.path / file).is_file():
            self._files[file] = SafetensorsFile(self.path / file)  # in the folder, but not what its index means now
        for name in sorted(self._files, key=lambda name: name != file):
            if self.sha256(name) == sha256:
                return name
        raise WeightsMismatchError(
            f"{self.path}: the delta was made from {file} with SHA-256 {sha256[:16]}..., which this base does not "
            "have; give the checkpoint that it was compressed with"
        )
