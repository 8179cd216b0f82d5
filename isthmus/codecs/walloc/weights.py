# SPDX-License-Identifier: Apache-2.0
"""Trained WaLLoC codecs as one safetensors file: networks in float32, entropy tables in integers, the shape in JSON.

Keys: `model.*` (the state of `models.walloc.Walloc`), `tables.*` (a `TableFamily`), `tables.expected` and, where there
is one, `context.*` (a `ContextModel`); the metadata entry `isthmus` holds {"family": "walloc", "config": {...}}.
Nothing is pickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.entropy.tables.family import TableFamily
from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.models.walloc import Walloc, WallocConfig

MAX_FILE = 1 << 30
LIMITS = {  # what a file may ask for, so that a damaged one cannot take all memory
    "latent_channels": 1024, "signal_channels": 16, "levels": 5, "width": 4096, "blocks": 128,
    "kernel": 31, "expansion": 8, "gain_levels": 100,
}  # fmt: skip


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Eight hexadecimal digits of the names, shapes and little-endian float32 values, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().float().contiguous().numpy().astype("<f4")
        digest.update(f"{name} {list(values.shape)}\n".encode() + values.tobytes())
    return digest.hexdigest()[:8]


def save_weights(path: Path, model: Walloc, entropy: FactorizedModel, context: ContextModel | None = None) -> None:
    """Writes one codec. Raises OSError when the file cannot be written."""
    tensors = {f"model.{k}": v.detach().cpu().float().contiguous() for k, v in model.state_dict().items()}
    arrays = entropy.family.to_arrays() | {"expected": entropy.expected}
    tensors |= {f"tables.{k}": torch.from_numpy(np.array(v)) for k, v in arrays.items()}
    if context:
        tensors |= {f"context.{k}": torch.from_numpy(np.array(v)) for k, v in context.to_arrays().items()}
    description = {"family": "walloc", "config": asdict(model.config)}
    save_file(tensors, path, {"isthmus": json.dumps(description)})


def load_weights(path: Path, name: str, device: str) -> WallocImageCodec:
    """Reads a codec. Raises UnreadableFileError when there is no such file, CorruptStreamError when it is not whole."""
    if not path.is_file():
        raise UnreadableFileError(f"{path}: no such weights file")
    if path.stat().st_size > MAX_FILE:
        raise CorruptStreamError(f"{path}: {path.stat().st_size} bytes, a codec has at most {MAX_FILE}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise CorruptStreamError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    with torch.device("meta"):  # memory is taken by the tensors of the file alone, not by what it claims
        model = Walloc(_config(path, metadata))
    state = {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}
    if not all(v.dtype == torch.float32 and v.isfinite().all() for v in state.values()):
        raise CorruptStreamError(f"{path}: the model's tensors must be finite float32; fetch the file again")
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise CorruptStreamError(f"{path}: the tensors do not fit the configuration: {error}") from error
    tables, contexts = (_integers(path, tensors, prefix) for prefix in ("tables.", "context."))
    if "expected" not in tables:
        raise CorruptStreamError(f"{path}: no entropy tables in this file; was the training finished?")
    try:
        entropy = FactorizedModel(TableFamily.from_arrays(tables), tables["expected"])
        context = ContextModel.from_arrays(contexts) if contexts else None
    except TypeError as error:  # an array without axes
        raise CorruptStreamError(f"{path}: entropy tables of wrong shapes: {error}") from error
    return WallocImageCodec(name, model, entropy, hash_tensors(state), device, context)


def _integers(path: Path, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, NDArray[Any]]:
    found = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    if any(v.dtype.is_floating_point or v.dtype.is_complex for v in found.values()):
        raise CorruptStreamError(f"{path}: entropy tables must be integers; fetch the file again")
    return {k: v.numpy() for k, v in found.items()}


def _config(path: Path, metadata: Mapping[str, str]) -> WallocConfig:
    try:
        description: Any = json.loads(metadata["isthmus"])
        if description["family"] != "walloc":
            raise ValueError(f"family {description['family']!r}")
        values: dict[str, Any] = description["config"]
        if set(values) != {f.name for f in fields(WallocConfig)}:
            raise ValueError(f"configuration {sorted(values)}")
        for key, value in values.items():
            least = 0 if key == "blocks" else 2 if key == "gain_levels" else 1
            if type(value) is not int or not least <= value <= LIMITS[key]:
                raise ValueError(f"{key} = {value!r}")
        if values["kernel"] % 2 == 0:
            raise ValueError(f"kernel = {values['kernel']}, expected an odd number")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptStreamError(f"{path}: not the weights of an isthmus codec: {error}") from error
    return WallocConfig(**values)
