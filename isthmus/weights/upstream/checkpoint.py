# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the published DFloat11 layout: folders of safetensors with `dfloat11_config` in config.json.

A compressed module keeps six tensors under its own name (see `block`); every other tensor is as it was. The
config's pattern_dict says which matrices a module holds: the keys are regular expressions of module names, the values
name the modules below whose `weight` each matrix is, in order; no names stand for the module's own `weight`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.lazy import cached_property
from isthmus.weights.folders.names import PLAIN, files_in
from isthmus.weights.safetensors_file import SafetensorsFile
from isthmus.weights.upstream.block import BYTES_PER_THREAD, FIELDS, UpstreamBlock

MARK = ".encoded_exponent"
CONFIG_LIMIT = 1 << 24
LONGEST_NAME = 256  # of a module that patterns are tried on
FIELD_DTYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype(np.uint8), "I64": np.dtype("<i8")}


@dataclass(frozen=True)
class UpstreamConfig:
    """`dfloat11_config`: threads_per_block, and pattern_dict as pairs."""

    patterns: tuple[tuple[str, tuple[str, ...]], ...]
    threads_per_block: int = 512
    version: str = "0.5.0"

    @classmethod
    def from_json(cls, config: Any, what: str) -> "UpstreamConfig":
        """Raises CorruptStreamError that begins with `what` unless it has what the layout needs."""

        def expect(condition: object, text: str) -> None:
            if not condition:
                raise CorruptStreamError(f"{what}: {text}; this is no DFloat11 checkpoint that isthmus knows")

        expect(isinstance(config, dict), f"dfloat11_config is {type(config).__name__}, expected an object")
        threads, patterns = config.get("threads_per_block"), config.get("pattern_dict")
        expect(
            isinstance(threads, list) and len(threads) == 1 and type(threads[0]) is int,
            f"threads_per_block is {threads!r}, expected [512]",
        )
        expect(
            config.get("bytes_per_thread") == BYTES_PER_THREAD,
            f"bytes_per_thread is {config.get('bytes_per_thread')!r}, expected {BYTES_PER_THREAD}",
        )
        expect(isinstance(patterns, dict), f"pattern_dict is {type(patterns).__name__}, expected an object")
        for pattern, names in patterns.items():
            listed = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
            expect(listed, f"pattern_dict[{pattern!r}] is {names!r}, expected a list of names")
            expect(_is_harmless(pattern), f"pattern {pattern!r} is no regular expression, or could take for ever")
        return cls(tuple((p, tuple(names)) for p, names in patterns.items()), threads[0], str(config.get("version")))

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "threads_per_block": [self.threads_per_block],
            "bytes_per_thread": BYTES_PER_THREAD,
            "pattern_dict": {pattern: list(names) for pattern, names in self.patterns},
        }

    def weights_of(self, module: str) -> tuple[str, ...] | None:
        """Full names of the weights that a compressed module of this name holds; None where no pattern matches."""
        for pattern, names in self.patterns:
            if len(module) <= LONGEST_NAME and re.fullmatch(pattern, module):
                return tuple(f"{module}.{name}.weight" for name in names) or (f"{module}.weight",)
        return None


def _is_harmless(pattern: str) -> bool:
    """Whether a regular expression from a file compiles, and matches names of 256 characters in reasonable time.

    Without repeated groups, references and lookarounds, the steps are at most the names' length to the power of the
    repetitions, times two for each choice.
    """
    plain = re.sub(r"\\.|\[[^]]*\]", "x", pattern, flags=re.DOTALL)  # escapes and sets choose nothing
    if len(pattern) > 300 or len(re.findall("[*+{]", plain)) > 3 or len(re.findall("[|?]", plain)) > 6:
        return False
    if re.search(r"\)[*+{]|\(\?(?!:)", plain) or re.search(r"\\[1-9]", pattern):
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


class UpstreamCheckpoint:
    """A checkpoint opened for reading, a folder or a single safetensors file; tensors are read when asked for.

    Raises UnreadableFileError where there is none, CorruptStreamError for files or a config that are damaged.
    """

    def __init__(self, path: str | Path, patterns: Mapping[str, list[str]] | None = None) -> None:
        """patterns: pattern_dict of a single file, which has no config.json beside it."""
        self.path = Path(path)
        if patterns is not None:
            self.config = UpstreamConfig(tuple((p, tuple(names)) for p, names in patterns.items()))
        else:
            self.config = UpstreamConfig.from_json(_read_config(self.path), str(self.path / "config.json"))
        paths = files_in(self.path, PLAIN) if self.path.is_dir() else [self.path]
        if not paths:
            raise UnreadableFileError(f"{self.path}: no .safetensors file, expected a DFloat11 checkpoint")
        self._files: dict[str, SafetensorsFile] = {}
        for file in map(SafetensorsFile, paths):
            for name in file.tensors:
                if name in self._files:
                    raise CorruptStreamError(f"{self.path}: tensor {name} is in {file.path.name} and in another file")
                self._files[name] = file

    @cached_property
    def modules(self) -> dict[str, tuple[str, ...]]:
        """The compressed modules and the full names of their weights, in order."""
        found = {}
        for name in sorted(name.removesuffix(MARK) for name in self._files if name.endswith(MARK)):
            weights = self.config.weights_of(name)
            if weights is None:
                raise CorruptStreamError(f"{self.path}: module {name} is compressed, but no pattern names its weights")
            missing = [field for field in FIELDS if f"{name}.{field}" not in self._files]
            if missing:
                raise CorruptStreamError(
                    f"{self.path}: module {name} lacks {', '.join(missing)}; fetch the files again"
                )
            found[name] = weights
        return found

    @cached_property
    def plain(self) -> list[str]:
        """Names of the tensors that are stored as they are."""
        taken = {f"{module}.{field}" for module in self.modules for field in FIELDS}
        return sorted(set(self._files) - taken)

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor that is stored as it is, a copy. Raises CorruptStreamError for a dtype that torch has not."""
        return self._files[name].tensor(name)

    def block(self, module: str) -> UpstreamBlock:
        """A compressed module. Raises CorruptStreamError that names it where its fields do not fit each other."""
        names = self.modules[module]
        fields: dict[str, Any] = {field: self._field(f"{module}.{field}") for field in FIELDS}
        block = UpstreamBlock(module, **fields, threads_per_block=self.config.threads_per_block)
        if len(block.split_positions) + 1 != len(names):
            raise CorruptStreamError(
                f"{module}: split_positions part it in {len(block.split_positions) + 1}, but its pattern names "
                f"{len(names)} weights; the config is of another checkpoint"
            )
        return block

    def _field(self, name: str) -> NDArray[Any]:
        """A field of a module, mapped; whether it has the right dtype is the block's to check."""
        file = self._files[name]
        stored = file.tensors[name]
        if stored.dtype not in FIELD_DTYPES:
            raise CorruptStreamError(f"{file.path}: tensor {name!r} is {stored.dtype}, expected U8 or I64")
        return file.data(name).view(FIELD_DTYPES[stored.dtype]).reshape(stored.shape)

    def blocks(self) -> Iterator[UpstreamBlock]:
        """All compressed modules, one after another."""
        return (self.block(module) for module in self.modules)


def _read_config(folder: Path) -> Any:
    """`dfloat11_config` of the folder's config.json."""
    path = folder / "config.json"
    if not path.is_file():
        raise UnreadableFileError(f"{folder}: no config.json, expected the folder of a DFloat11 checkpoint")
    if path.stat().st_size > CONFIG_LIMIT:
        raise CorruptStreamError(f"{path}: longer than {CONFIG_LIMIT} bytes, so no config of a model")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptStreamError(f"{path}: no JSON: {error}") from None
    if not isinstance(config, dict) or "dfloat11_config" not in config:
        raise CorruptStreamError(f"{path}: no dfloat11_config, so this is no DFloat11 checkpoint")
    return config["dfloat11_config"]
