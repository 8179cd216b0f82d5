# SPDX-License-Identifier: Apache-2.0
"""Tensors of files and folders, compressed, plain or both, as `safetensors` hands them out."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import EllipsisType, TracebackType

import numpy as np
import torch
from torch import Tensor

from isthmus.codecs.dfloat.decoder import RUN
from isthmus.errors import CorruptStreamError, UnknownTensorError
from isthmus.weights.checkpoints import PathLike, thread_count
from isthmus.weights.dfloat_file import WeightFile, open_weights, refuse_upstream
from isthmus.weights.folders.config import CONFIG
from isthmus.weights.folders.names import PLAIN, files_in
from isthmus.weights.folders.weight_files import weight_files
from isthmus.weights.safetensors_file import SafetensorsFile, StoredTensor, torch_tensor

Index = int | slice | EllipsisType | None | Tensor
Indices = Index | tuple[Index, ...] | list[int]


class OpenWeights(Mapping[str, Tensor]):
    """What `open` gives: names and tensors, each decoded when it is asked for, none kept.

    Raises UnreadableFileError and CorruptStreamError, here and where a tensor is read, then naming it;
    UnknownTensorError, a KeyError, for a name that is not there; ValueError when it is closed.
    """

    def __init__(self, path: PathLike, base: PathLike | None = None, device: str = "cpu", threads: int | None = None):
        self._path, self._is_open = path, True
        self._device, self._threads = device, thread_count(threads)
        self._opened: dict[str, WeightFile | SafetensorsFile] = {}
        self._metadata: dict[str, str] = {}
        root = Path(path)
        if (root / CONFIG).is_file() and b'"dfloat11_config"' in (root / CONFIG).read_bytes():
            for part in files_in(root, PLAIN):  # of which only some may be of that layout
                refuse_upstream(SafetensorsFile(part))
        for part in weight_files(root) if root.is_dir() else [root]:
            file = open_weights(part, base=None if base is None else Path(base))
            if isinstance(file, SafetensorsFile):
                refuse_upstream(file)
            for name in _entries(file):
                if name in self._opened:
                    raise CorruptStreamError(f"{part}: tensor {name!r} is in {self._opened[name].path.name} too")
                self._opened[name] = file
            self._metadata |= file.metadata if isinstance(file, WeightFile) else file.header.metadata

    def __enter__(self) -> "OpenWeights":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened, self._is_open = {}, False

    @property
    def _files(self) -> dict[str, WeightFile | SafetensorsFile]:
        if not self._is_open:
            raise ValueError(f"{self._path}: is closed; read its tensors within the `with` block")
        return self._opened

    def _file(self, name: str) -> WeightFile | SafetensorsFile:
        try:
            return self._files[name]
        except KeyError:
            near = get_close_matches(str(name), self._files, 3)
            hint = f"near it: {', '.join(near)}" if near else f"it has {len(self._files)}, which keys() lists"
            raise UnknownTensorError(f"{self._path}: has no tensor {name!r}; {hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:  # a Mapping would decode the tensor
        return name in self._files

    def __getitem__(self, name: str) -> Tensor:
        file = self._file(name)
        found = file.tensor(name, threads=self._threads) if isinstance(file, WeightFile) else file.tensor(name)
        return found.to(self._device)

    def get_tensor(self, name: str) -> Tensor:
        """A tensor, a copy of its own."""
        return self[name]

    def get_slice(self, name: str) -> "TensorSlice":
        """A tensor of which only what is asked for will be decoded: `get_slice(name)[100:200]`."""
        return TensorSlice(self._file(name), name, self._device)

    def metadata(self) -> dict[str, str] | None:
        """`__metadata__` of the original files; None if there is none."""
        return dict(self._metadata) or None


def _entries(file: WeightFile | SafetensorsFile) -> dict[str, StoredTensor]:
    return file.original if isinstance(file, WeightFile) else file.tensors


class TensorSlice:
    """A tensor to be indexed, as a tensor is; of its rows only those asked for, and their neighbours, are decoded."""

    def __init__(self, file: WeightFile | SafetensorsFile, name: str, device: str) -> None:
        self._file, self._entry, self._device = file, _entries(file)[name], device

    def get_shape(self) -> list[int]:
        """Its lengths."""
        return list(self._entry.shape)

    def get_dtype(self) -> str:
        """Its dtype as safetensors spells it."""
        return self._entry.dtype

    def __getitem__(self, index: Indices) -> Tensor:
        first, *others = index if isinstance(index, tuple) else (index,)
        shape = self._entry.shape
        if not shape or not isinstance(first, slice) or first.step not in (None, 1):
            if not shape or type(first) is not int:
                return self._rows(0, shape[0] if shape else 1)[index].to(self._device)
            row = range(shape[0])[first]  # IndexError, as tensors raise
            return self._rows(row, row + 1)[(0, *others)].to(self._device)
        begin, end, _ = first.indices(shape[0])
        return self._rows(begin, max(begin, end))[(slice(None), *others)].to(self._device)

    def _rows(self, begin: int, end: int) -> Tensor:
        """Rows of the tensor; all of a tensor without dimensions."""
        entry, file = self._entry, self._file
        size = entry.end - entry.begin
        rows = max(1, entry.shape[0]) if entry.shape else 1
        part = StoredTensor(entry.name, entry.dtype, (end - begin, *entry.shape[1:]) if entry.shape else (), 0, 0)
        if not isinstance(file, WeightFile) or not file.is_coded(entry.name):
            if isinstance(file, WeightFile):
                file.check_raw(entry.name)
            data = file.stored(entry.name) if isinstance(file, WeightFile) else file.data(entry.name)
            return torch_tensor(data[begin * size // rows : end * size // rows].copy(), part, file.path)
        runs = file.runs(entry.name)
        start, stop = begin * runs.count // rows, end * runs.count // rows
        bits = np.empty(stop - start, runs.dtype)
        for run in range(start // RUN, -(-stop // RUN)):
            decoded = np.empty(min(RUN, runs.count - run * RUN), runs.dtype)
            runs.decode(run, decoded)
            low, high = max(start, run * RUN), min(stop, (run + 1) * RUN)
            bits[low - start : high - start] = decoded[low - run * RUN : high - run * RUN]
        return torch_tensor(bits, part, file.path)


def open(
    path: PathLike, base: PathLike | None = None, *, framework: str = "pt", device: str | torch.device = "cpu"
) -> OpenWeights:
    """Opens a file or folder, compressed or not, as `safetensors.safe_open` does: a context, one tensor at a time.

    base: what deltas are relative to. framework: "pt", as the tensors are torch's. Raises ValueError for another,
    UnreadableFileError, CorruptStreamError and WeightsMismatchError.

        with weights.open("model-dfloat/") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
    """
    if framework != "pt":
        raise ValueError(f"open: framework {framework!r}, expected 'pt'; call .numpy() of the tensors for another")
    return OpenWeights(path, base, str(device))


def state_dict(path: PathLike, base: PathLike | None = None, *, device: str = "cpu") -> Mapping[str, Tensor]:
    """A Mapping of names to tensors, each decoded when it is looked up and not kept. Raises as `open`.

    `Module.load_state_dict` takes it, but makes a dict of it first, so that all are in memory then; with
    `assign=True` that is the only copy. To hold one at a time, copy each to its parameter in a loop.
    """
    return OpenWeights(path, base, device)


def load_file(
    path: PathLike, device: str | torch.device = "cpu", threads: int | None = None, base: PathLike | None = None
) -> dict[str, Tensor]:
    """All tensors of a file or folder, compressed or not, as `safetensors.torch.load_file`. Raises as `open`.

    threads: all cores when None.
    """
    return dict(OpenWeights(path, base, str(device), threads))
