# SPDX-License-Identifier: Apache-2.0
"""Files of compressed weights as state dicts whose tensors are decoded when somebody reads them."""

import json
import threading
from pathlib import Path

import torch
from torch import Tensor

from isthmus.weights.attached.source import FileSource
from isthmus.weights.attached.tensors.nodes import Slot
from isthmus.weights.attached.tensors.reading import decoded
from isthmus.weights.attached.tensors.tensor import CompressedTensor, Loading
from isthmus.weights.folders.config import METHOD

SUFFIX = ".dfloat"
CPU = torch.device("cpu")
_LOCAL = threading.local()  # what each thread has begun to load


def state_dict_of(path: str | Path, *, base: str | Path | None = None, meta: bool = False) -> dict[str, Tensor]:
    """The tensors of a file of a folder: compressed ones whose operations are put off, where transformers is told that
    the folder is compressed; ordinary ones otherwise. meta: all on the meta device.

    Raises as `open_source`.
    """
    loading = Loading() if _is_ours(Path(path).parent) else None
    if loading is not None and not meta:
        _begun().append(loading)
    return tensors_of(FileSource([Path(path)], base), loading, meta=meta)


def end_loading() -> None:
    """What this thread has loaded is no longer put off, wherever it is: accelerate keeps tensors of its own."""
    for loading in _begun():
        loading.done = True
    _begun().clear()


def _begun() -> list[Loading]:
    if not hasattr(_LOCAL, "begun"):
        _LOCAL.begun = []
    begun: list[Loading] = _LOCAL.begun
    return begun


def tensors_of(source: FileSource, loading: Loading | None, *, meta: bool = False) -> dict[str, Tensor]:
    """All tensors of a source, to be renamed, merged and cast by others; ordinary ones where nothing loads."""
    nodes = source.nodes(dict.fromkeys([*source.compressed, *source.plain], ()))
    if meta:
        return {name: node.meta for name, node in nodes.items()}
    if loading is None:
        return {name: decoded(node, CPU) for name, node in nodes.items()}
    return {name: CompressedTensor(Slot(node), CPU, loading=loading, label=name) for name, node in nodes.items()}


def _is_ours(folder: Path) -> bool:
    """Whether config.json names us; checkpoints of another quantization need ordinary tensors."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        return bool(config["quantization_config"]["quant_method"] == METHOD)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
