# SPDX-License-Identifier: Apache-2.0
"""What makes a compressed folder one that transformers loads: an index of its weights, and a config that names it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from isthmus.files import atomic_file, remove_leftovers
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.config import CONFIG, INDEX, mark_config, read_config, restore_config
from isthmus.weights.folders.index import read_index
from isthmus.weights.folders.names import PLAIN, packed_name
from isthmus.weights.safetensors_file import StoredTensor


def mark_folders(shards: Iterable[Path]) -> list[Path]:
    """Writes index and config of each folder with compressed shards that transformers loads, the config last.

    Returns these configs. Done again, it writes the same. Raises CorruptStreamError, UnwritableFileError.
    """
    found = set(shards)
    folders = sorted({path.parent for path in found})
    return [folder / CONFIG for folder in folders if _mark_folder(folder, found)]


def _mark_folder(folder: Path, shards: set[Path]) -> bool:
    path = folder / CONFIG
    raw = restore_config(path.read_bytes()) if path.is_file() else b""
    config = read_config(raw)
    names = None if config is None else _standard(folder, config, shards)
    if names is None:
        return False
    files = {path: WeightFile(path) for path in {folder / name for name in names.values()}}
    tensors = {tensor: files[folder / name].original.get(tensor) for tensor, name in names.items()}
    size = sum(_bytes(tensor) for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": names}
    for target, data in (
        (folder / INDEX, (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode()),
        (path, mark_config(raw)),
    ):
        remove_leftovers(target, follow=False)
        if not target.is_file() or target.read_bytes() != data:
            with atomic_file(target, follow=False, durable=True) as file:
                file.write(data)
    return True


def _bytes(tensor: StoredTensor | None) -> int:
    return 0 if tensor is None else tensor.end - tensor.begin


def _standard(folder: Path, config: dict[str, Any], shards: set[Path]) -> dict[str, str] | None:
    """File names by names of the tensors that transformers would load; None where these are not compressed."""
    named = config.get("transformers_weights")
    for name in [named] if isinstance(named, str) else ["model" + PLAIN, f"model{PLAIN}.index.json"]:
        single = packed_name(folder / name)
        if name.endswith(PLAIN) and single in shards:
            return {tensor: packed_name(Path(name)).as_posix() for tensor in WeightFile(single).original}
        if name.endswith(".index.json") and ".." not in Path(name).parts and (folder / name).is_file():
            found = {t: packed_name(Path(shard)).as_posix() for t, shard in read_index(folder / name).items()}
            return found if all(folder / shard in shards for shard in found.values()) else None
    return None
