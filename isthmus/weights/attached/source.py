# SPDX-License-Identifier: Apache-2.0
"""Where the weights of a model come from: compressed files, folders of them, and DFloat11 checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from isthmus.codecs.dfloat.tensors import TORCH
from isthmus.errors import CorruptStreamError
from isthmus.weights.attached.decoding.items import Item, PayloadItem, UpstreamItem
from isthmus.weights.attached.tensors.nodes import Node, Plain, Stored
from isthmus.weights.dfloat_file import WeightFile, open_weights
from isthmus.weights.folders.weight_files import weight_files
from isthmus.weights.safetensors_file import SafetensorsFile
from isthmus.weights.upstream.checkpoint import CONFIG_LIMIT, UpstreamCheckpoint

MENTION = b'"dfloat11_config"'
Shapes = Mapping[str, tuple[int, ...]]


class Source(ABC):
    """compressed: names of compressed tensors, each with the name of its item; plain: names of the other tensors."""

    compressed: dict[str, str]
    plain: list[str]

    @abstractmethod
    def item(self, name: str, shapes: Shapes) -> Item:
        """An item; shapes: those of its tensors in the model. Raises CorruptStreamError where they do not fit."""

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """A plain tensor, a copy."""

    def nodes(self, shapes: Shapes) -> dict[str, Node]:
        """Tensors by name: those of `shapes`, which has their shapes in the model. Errors as `item` and `tensor`."""
        keys = dict.fromkeys(self.compressed[name] for name in shapes if name in self.compressed)
        items = {key: self.item(key, shapes) for key in keys}
        found: dict[str, Node] = {
            name: Stored(item, number) for item in items.values() for number, name in enumerate(item.names)
        }
        return found | {name: Plain(self.tensor(name)) for name in shapes if name not in self.compressed}


class FileSource(Source):
    """Files that `compress` made, and safetensors files as they are, together."""

    def __init__(self, paths: Iterable[Path], base: str | Path | None) -> None:
        self._files: dict[str, WeightFile | SafetensorsFile] = {}
        self.compressed, self.plain = {}, []
        for path in paths:
            file = open_weights(path, base=base)
            for name in file.original if isinstance(file, WeightFile) else file.tensors:
                if name in self._files:
                    raise CorruptStreamError(f"{path}: tensor {name!r} is in {self._files[name].path.name} too")
                self._files[name] = file
                if isinstance(file, WeightFile) and file.is_coded(name):
                    self.compressed[name] = name
                else:
                    self.plain.append(name)

    def item(self, name: str, shapes: Shapes) -> Item:
        file = self._files[name]
        assert isinstance(file, WeightFile)
        entry = file.original[name]
        return PayloadItem((name,), (entry.shape,), TORCH[entry.dtype], file.payload(name), file.base_bits(name))

    def tensor(self, name: str) -> Tensor:
        file = self._files[name]
        return file.tensor(name)


class UpstreamSource(Source):
    """A DFloat11 checkpoint; what belongs together in it is one item. It knows no shapes of compressed tensors."""

    def __init__(self, checkpoint: UpstreamCheckpoint) -> None:
        self._checkpoint = checkpoint
        self.compressed = {name: module for module, names in checkpoint.modules.items() for name in names}
        self.plain = checkpoint.plain

    def item(self, name: str, shapes: Shapes) -> Item:
        block, names = self._checkpoint.block(name), self._checkpoint.modules[name]
        item = UpstreamItem(names, tuple(shapes[n] for n in names), torch.bfloat16, block)
        found = [b - a for a, b in zip([0, *block.split_positions], [*block.split_positions, len(block)], strict=True)]
        for n, count, wanted in zip(names, found, item.counts, strict=True):
            if count != wanted:
                raise CorruptStreamError(f"{name}: {n} has {count} weights, the model's {list(shapes[n])} has {wanted}")
        return item

    def tensor(self, name: str) -> Tensor:
        return self._checkpoint.tensor(name)


def open_source(
    path: str | Path, *, base: str | Path | None = None, patterns: Mapping[str, list[str]] | None = None
) -> Source:
    """A file, a folder of files, or a DFloat11 checkpoint (by its config.json, or by `patterns` for a single file).

    Raises UnreadableFileError where there is none, CorruptStreamError for damage, WeightsMismatchError for a base that
    is missing or another.
    """
    path = Path(path)
    if patterns is not None or (path.is_dir() and _is_upstream(path)):
        return UpstreamSource(UpstreamCheckpoint(path, patterns))
    return FileSource(weight_files(path) if path.is_dir() else [path], base)


def _is_upstream(folder: Path) -> bool:
    """Whether config.json says that this is a DFloat11 checkpoint; the file may be any text."""
    config = folder / "config.json"
    return config.is_file() and config.stat().st_size <= CONFIG_LIMIT and MENTION in config.read_bytes()
