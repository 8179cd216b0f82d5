# SPDX-License-Identifier: Apache-2.0
"""Compressed safetensors files as users of single tensors see them (docs/format-dfloat.md, "In a safetensors file")."""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat.decoder import NEIGHBOURS, RUN, Decoder
from isthmus.codecs.dfloat.dtypes import CODED, UINT
from isthmus.codecs.dfloat.payload import Payload, read_payload
from isthmus.errors import CorruptStreamError, WeightsMismatchError
from isthmus.kernels import threads as pool
from isthmus.weights.base_checkpoint import BaseCheckpoint
from isthmus.weights.folders.names import MARK
from isthmus.weights.mark import HEADER, original_header, parse_mark
from isthmus.weights.raw_checks import DIGITS, check_of, runs_of
from isthmus.weights.safetensors_file import SafetensorsFile, StoredTensor, parse_header, torch_tensor

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".dfloat"


class WeightFile:
    """A compressed file, mapped; its headers are checked when it is opened, its tensors when they are read.

    original: the tensors of the file that it was made from, by name, in the order of their bytes; metadata: that
    file's. source: what the metadata of this one say: mode, index, bytes, sha256, base and delta. base: the checkpoint
    that a delta needs when its tensors are decoded.

    Raises UnreadableFileError, CorruptStreamError, and WeightsMismatchError for a base that is not the delta's.
    """

    def __init__(self, path: str | Path, *, base: str | Path | None = None) -> None:
        self.path = Path(path)
        self.file = SafetensorsFile(path)
        self.source = parse_mark(self.file)
        self.header_bytes = original_header(self.file, self.source)
        header = parse_header(self.header_bytes, f"{path} (original header)")
        if 8 + len(self.header_bytes) + header.data_bytes != self.source["bytes"]:
            raise CorruptStreamError(f"{path}: the original header does not fit the original length; fetch it again")
        self.original = {tensor.name: tensor for tensor in header.tensors}
        self.metadata = header.metadata
        for tensor in header.tensors:
            self._check(tensor)
        for name in self.source["delta"]:
            if name not in self.original or not self.is_coded(name):
                raise CorruptStreamError(f"{path}: tensor {name!r} is called a delta, but is not coded")
        self._base, self._base_files = self._open_base(base)
        self._runs = self._raw_runs()
        self._checked: set[str] = set()

    def _raw_runs(self) -> dict[str, tuple[list[StoredTensor], str]]:
        """The run of each raw tensor and its check; none in files of an earlier version."""
        checks = self.source["checks"]
        if checks is None:
            return {}
        found = [checks[at : at + DIGITS] for at in range(0, len(checks), DIGITS)]
        runs = runs_of(tensor for tensor in self.original.values() if not self.is_coded(tensor.name))
        if found[0] != f"{zlib.crc32(self.header_bytes):08x}" or len(found) != 1 + len(runs):
            raise CorruptStreamError(f"{self.path}: its header is damaged; fetch the file again")
        return {tensor.name: (run, check) for run, check in zip(runs, found[1:], strict=True) for tensor in run}

    def check_raw(self, name: str) -> None:
        """Raises CorruptStreamError where a raw tensor is damaged, or one that is checked together with it."""
        run, check = self._runs.get(name, ([], ""))
        if not run or name in self._checked:
            return
        if check_of(run, self.stored) != check:
            names = repr(run[0].name) if len(run) == 1 else f"{run[0].name!r} to {run[-1].name!r}"
            raise CorruptStreamError(f"{self.path}: tensor {names}: its bytes are damaged; fetch the file again")
        self._checked.update(tensor.name for tensor in run)

    def _check(self, tensor: StoredTensor) -> None:
        """A tensor's place in the file, and, if it is raw, that it is the same."""
        found = self.file.tensors.get(self._stored_name(tensor.name))
        coded = found is not None and found.name != tensor.name
        if found is None or (coded and (found.dtype != "U8" or tensor.dtype not in CODED)):
            raise CorruptStreamError(f"{self.path}: tensor {tensor.name!r} is not there; fetch the file again")
        if not coded and (found.dtype, found.shape, found.end - found.begin) != (
            tensor.dtype, tensor.shape, tensor.end - tensor.begin,
        ):  # fmt: skip
            raise CorruptStreamError(f"{self.path}: tensor {tensor.name!r} is not what the original header says")

    def _open_base(self, base: str | Path | None) -> tuple[BaseCheckpoint | None, dict[str, str]]:
        wanted = self.source["base"]
        if not wanted or base is None:
            return None, {}
        checkpoint = BaseCheckpoint(base)
        return checkpoint, {name: checkpoint.find(name, sha256) for name, sha256 in wanted.items()}

    def _stored_name(self, name: str) -> str:
        coded = name + SUFFIX
        return coded if coded in self.file.tensors and coded not in self.original else name

    def is_coded(self, name: str) -> bool:
        """Whether a tensor is stored as a payload; others are as they were."""
        return self._stored_name(name) != name

    def stored(self, name: str) -> Bytes:
        """The bytes of a tensor in the file, a payload or the weights themselves: uint8 [n], mapped, read-only."""
        return self.file.data(self._stored_name(name))

    def payload(self, name: str) -> Payload:
        """The payload of a coded tensor, its head checked. Raises CorruptStreamError naming the tensor."""
        tensor = self.original[name]
        try:
            payload = read_payload(self.stored(name))
        except CorruptStreamError as error:
            raise CorruptStreamError(f"{self.path}: tensor {name!r}: {error}") from None
        if payload.width != CODED[tensor.dtype] or payload.count * payload.width != tensor.end - tensor.begin:
            raise CorruptStreamError(
                f"{self.path}: tensor {name!r}: its payload is not of {tensor.dtype} and its shape"
            )
        return payload

    def base_bits(self, name: str) -> NDArray[Any] | None:
        """What the weights of a delta are XOR with: its bit patterns, mapped; None for other tensors."""
        holder = self.source["delta"].get(name)
        if holder is None:
            return None
        if self._base is None:
            raise WeightsMismatchError(
                f"{self.path}: tensor {name!r} is a delta from {holder}; give the base checkpoint (base=, or --base)"
            )
        data = self._base.data(self._base_files[holder], name)
        tensor = self.original[name]
        if len(data) != tensor.end - tensor.begin or tensor.dtype not in CODED:
            raise CorruptStreamError(f"{self.path}: tensor {name!r} is not of the base's size; fetch the file again")
        return data.view(UINT[CODED[tensor.dtype]])

    def runs(self, name: str) -> "TensorRuns":
        """A coded tensor, to be decoded part by part."""
        return TensorRuns(self, name)

    def tensor(self, name: str, *, threads: int = 1) -> "Tensor":
        """A tensor, decoded. Raises CorruptStreamError naming it; KeyError for a name that is not there."""
        entry = self.original[name]
        if not self.is_coded(name):
            self.check_raw(name)
            return torch_tensor(self.stored(name).copy(), entry, self.path)
        runs = self.runs(name)
        bits = np.empty(runs.count, runs.dtype)

        def work(run: int) -> None:
            runs.decode(run, bits[run * RUN : (run + 1) * RUN])

        pool.run(work, range(runs.runs), threads, neighbours=NEIGHBOURS)
        return torch_tensor(bits, entry, self.path)


class TensorRuns:
    """A coded tensor of a file: `runs` runs of 2**18 of its `count` weights, in `dtype`."""

    def __init__(self, file: WeightFile, name: str) -> None:
        payload = file.payload(name)
        self._name, self._path = name, file.path
        self._decoder, self._base = Decoder(payload), file.base_bits(name)
        self.count, self.dtype, self.runs = payload.count, UINT[payload.width], self._decoder.runs

    def decode(self, run: int, out: NDArray[Any]) -> None:
        """Writes the bit patterns of a run to `out`. Raises CorruptStreamError naming the tensor."""
        try:
            self._decoder.decode(run, out)
        except CorruptStreamError as error:
            raise CorruptStreamError(f"{self._path}: tensor {self._name!r}: {error}") from None
        if self._base is not None:
            out ^= self._base[run * RUN : (run + 1) * RUN]


def open_weights(path: str | Path, *, base: str | Path | None = None) -> WeightFile | SafetensorsFile:
    """A file that `compress` made, or any other safetensors file.

    Raises as these do, and CorruptStreamError for a compressed file whose metadata no longer say so.
    """
    file = SafetensorsFile(path)
    if MARK in file.header.metadata:
        return WeightFile(path, base=base)
    if file.path.suffix == SUFFIX or HEADER in file.tensors:
        raise CorruptStreamError(
            f"{path}: is a compressed file without the entry {MARK!r} in its metadata: it is damaged, fetch it again"
        )
    return file


def refuse_upstream(file: SafetensorsFile) -> None:
    """Raises CorruptStreamError, which says what to do, for a file in the published DFloat11 layout."""
    codes = ".encoded_exponent"
    if any(name.endswith(codes) and name[: -len(codes)] + ".luts" in file.tensors for name in file.tensors):
        raise CorruptStreamError(
            f"{file.path}: its weights are compressed in the layout of the DFloat11 package: read them with "
            "isthmus.weights.UpstreamCheckpoint, or run a model from them with isthmus.weights.attach"
        )
