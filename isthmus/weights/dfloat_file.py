# SPDX-License-Identifier: Apache-2.0
"""Compressed safetensors files as users of single tensors see them (docs/format-dfloat.md, "In a safetensors file")."""

import json
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat.coding import MODES
from isthmus.codecs.dfloat.decoder import NEIGHBOURS, RUN, Decoder
from isthmus.codecs.dfloat.dtypes import CODED, UINT
from isthmus.codecs.dfloat.payload import Payload, read_payload
from isthmus.errors import CorruptStreamError, WeightsMismatchError
from isthmus.kernels import threads as pool
from isthmus.weights.base_checkpoint import BaseCheckpoint
from isthmus.weights.folders.names import MARK
from isthmus.weights.inserted_mark import remove_mark
from isthmus.weights.safetensors_file import HEADER_LIMIT, SafetensorsFile, StoredTensor, parse_header, torch_tensor

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, HEADER, SUFFIX = "dfloat.1", "dfloat.header", ".dfloat"
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
        self.source = _parse_mark(self.file)
        self.header_bytes = _original_header(self.file, self.source)
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


def refuse_upstream(file: SafetensorsFile) -> None:
    """Raises CorruptStreamError, which says what to do, for a file in the published DFloat11 layout."""
    codes = ".encoded_exponent"
    if any(name.endswith(codes) and name[: -len(codes)] + ".luts" in file.tensors for name in file.tensors):
        raise CorruptStreamError(
            f"{file.path}: its weights are compressed in the layout of the DFloat11 package: read them with "
            "isthmus.weights.UpstreamCheckpoint, or run a model from them with isthmus.weights.attach"
        )


def _parse_mark(file: SafetensorsFile) -> dict[str, Any]:
    """The entry `dfloat` of the metadata, with every key that may be left out."""
    text = file.header.metadata.get(MARK)
    if text is None:
        raise CorruptStreamError(f"{file.path}: no compressed weights; make them with `isthmus weights compress`")
    try:
        mark = json.loads(text)
        mark = {"base": {}, "delta": {}, "index": False, "inserted": None, "include": [], "exclude": [], **mark}
        known = mark["format"] == FORMAT
        whole = (
            mark["mode"] in MODES
            and isinstance(mark["index"], bool)
            and all(type(mark[key]) is int and mark[key] >= 0 for key in ("header_bytes", "bytes"))
            and all(_SHA256.fullmatch(s) for s in (mark["sha256"], *mark["base"].values()))
            and all(mark["delta"][name] in mark["base"] for name in mark["delta"])
            and mark["header_bytes"] <= HEADER_LIMIT
            and all(isinstance(pattern, str) for key in ("include", "exclude") for pattern in mark[key])
            and _is_place(mark["inserted"])
            and (mark["inserted"] is not None or HEADER in file.tensors)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        known = whole = False
    if not (known and whole):
        what = "is damaged" if known else f"is not of format {FORMAT}; a newer isthmus may read it"
        raise CorruptStreamError(f"{file.path}: the metadata entry {MARK!r} {what}")
    return mark


def _is_place(inserted: Any) -> bool:
    """Whether this is what the mark may say about where it was put into the original header."""
    return inserted is None or (len(inserted) == 2 and all(type(n) is int and 0 <= n <= HEADER_LIMIT for n in inserted))


def _original_header(file: SafetensorsFile, mark: dict[str, Any]) -> bytes:
    if mark["inserted"] is None:
        return _inflate(file, mark["header_bytes"])
    header = remove_mark(file.header_bytes, mark["inserted"])
    if len(header) != mark["header_bytes"]:
        raise CorruptStreamError(f"{file.path}: the header without its entry {MARK!r} is not the original's")
    return header


def _inflate(file: SafetensorsFile, length: int) -> bytes:
    """The original header."""
    inflater = zlib.decompressobj()
    try:
        header = inflater.decompress(file.data(HEADER).tobytes(), length + 1)
    except zlib.error:
        header = b""
    if len(header) != length or not inflater.eof:
        raise CorruptStreamError(f"{file.path}: tensor {HEADER!r} does not hold {length} bytes; fetch the file again")
    return header
