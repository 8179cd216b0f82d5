# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the published DFloat11 layout, written so that its own runtime loads them."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from isthmus.errors import UnreadableFileError, UnwritableFileError
from isthmus.files import atomic_write
from isthmus.weights.folders.names import PLAIN, files_in, is_visible
from isthmus.weights.safetensors_file import SafetensorsFile
from isthmus.weights.upstream.block import FIELDS, UpstreamBlock
from isthmus.weights.upstream.checkpoint import UpstreamConfig
from isthmus.weights.upstream.encode import encode_block


@dataclass(frozen=True)
class UpstreamReport:
    """What was written: modules compressed and, by name, why others were kept; bytes of all tensors."""

    compressed: tuple[str, ...]
    kept: Mapping[str, str]
    bytes_before: int
    bytes_after: int


def to_upstream(
    source: str | Path, destination: str | Path, patterns: Mapping[str, list[str]], *, threads: int = 1
) -> UpstreamReport:
    """Compresses a folder of safetensors (or one file) to a new folder in the DFloat11 layout.

    patterns: pattern_dict (see upstream), e.g. {"lm_head": [], r"model\\.layers\\.\\d+": ["self_attn.q_proj", ...]}.
    Each module becomes a file of its own and everything else one file, beside copies of the other files of the source,
    of which config.json gains `dfloat11_config`. A module that has a weight of another dtype than bf16, that holds
    exponents above 239 or that would not shrink is kept as it is. The folder appears when it is whole, or not at all.

    Raises UnreadableFileError without a source, UnwritableFileError where the destination exists or cannot be made,
    ValueError where a pattern names a weight that is not there.
    """
    source, destination = Path(source), Path(destination)
    if destination.exists():
        raise UnwritableFileError(f"{destination}: is there already; choose a new folder")
    files = [SafetensorsFile(path) for path in (files_in(source, PLAIN) if source.is_dir() else [source])]
    if not files:
        raise UnreadableFileError(f"{source}: no .safetensors file")
    holders = {name: file for file in files for name in file.tensors}
    config = UpstreamConfig(tuple((pattern, tuple(names)) for pattern, names in patterns.items()))
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as folder:
            report = _write(holders, config, Path(folder) / "made", threads)
            _copy_the_rest(source, config, Path(folder) / "made")
            os.replace(Path(folder) / "made", destination)
    except OSError as error:
        raise UnwritableFileError(f"{destination}: {error.strerror or error}") from None
    return report


def _write(holders: dict[str, SafetensorsFile], config: UpstreamConfig, folder: Path, threads: int) -> UpstreamReport:
    folder.mkdir()
    prefixes = {name.rsplit(".", depth)[0] for name in holders for depth in range(1, name.count(".") + 1)}
    compressed, kept, sizes = [], {}, [0, 0]
    plain = dict.fromkeys(holders)
    for module in sorted(prefixes):
        names = config.weights_of(module)
        if names is None:
            continue
        missing = [name for name in names if name not in holders]
        if missing:
            raise ValueError(f"{module}: its pattern names {missing[0]}, which the source does not hold")
        tensors = [holders[name].tensor(name) for name in names]
        before = sum(tensor.nbytes for tensor in tensors)
        block = _encode(module, tensors, threads)
        if isinstance(block, UpstreamBlock) and block.nbytes < before:
            fields = {f"{module}.{field}": torch.from_numpy(getattr(block, field)) for field in FIELDS}
            atomic_write(folder / f"{module.replace('.', '_')}.safetensors", save(fields))
            compressed.append(module)
            sizes = [sizes[0] + before, sizes[1] + block.nbytes]
            for name in names:
                del plain[name]
        else:
            kept[module] = block if isinstance(block, str) else "would not shrink"
    rest = {name: holders[name].tensor(name) for name in plain}
    atomic_write(folder / "model.safetensors", save(rest, {"format": "pt"}))
    size = sum(tensor.nbytes for tensor in rest.values())
    return UpstreamReport(tuple(compressed), kept, sizes[0] + size, sizes[1] + size)


def _encode(module: str, tensors: list[torch.Tensor], threads: int) -> UpstreamBlock | str:
    """The block, or why there is none."""
    other = [str(tensor.dtype) for tensor in tensors if tensor.dtype != torch.bfloat16]
    if other:
        return f"{other[0]}, not bfloat16"
    matrices = [tensor.contiguous().view(torch.int16).numpy().view(np.uint16) for tensor in tensors]
    try:
        return encode_block(module, matrices, threads=threads)
    except ValueError as error:
        return str(error)


def _copy_the_rest(source: Path, config: UpstreamConfig, folder: Path) -> None:
    """The source's other files, except those that tell where its tensors were."""
    original: dict[str, Any] = {}
    if source.is_dir():
        for path in filter(is_visible, source.iterdir()):
            if path.is_file() and not path.name.endswith((".safetensors", ".safetensors.index.json")):
                shutil.copyfile(path, folder / path.name)
        if (source / "config.json").is_file():
            original = json.loads((source / "config.json").read_text(encoding="utf-8"))
    original["dfloat11_config"] = config.to_json()
    (folder / "config.json").write_text(json.dumps(original, indent=2) + "\n", encoding="utf-8")
