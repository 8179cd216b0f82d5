# SPDX-License-Identifier: Apache-2.0
"""Named tensors: safetensors files in and out. Whole checkpoints, in bounded memory, are `isthmus.weights`."""

import os
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from isthmus.errors import UnreadableFileError
from isthmus.files import atomic_write
from isthmus.options import Options
from isthmus.signatures import head_of, resembles

SUFFIXES = frozenset({".safetensors"})
ReadOptions = Options  # none


def read(path: str | os.PathLike[str], options: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As `media.kinds.read`: torch tensors by name."""
    if Path(path).is_dir():
        raise UnreadableFileError(f"{path}: is a folder; expected a safetensors file (`isthmus weights` takes folders)")
    try:
        with safe_open(path, "pt") as file:
            beside = set(file.metadata() or {}) - {"format"}
        if beside:
            names = ", ".join(sorted(beside))
            warnings.warn(f"{path}: its metadata ({names}) is not kept; `isthmus weights compress` does", stacklevel=3)
        return load_file(path), {}
    except FileNotFoundError as error:
        raise UnreadableFileError(f"{path}: no such file") from error
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        head = head_of(path)
        if head[8:10] == b'{"':
            raise UnreadableFileError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
        raise UnreadableFileError(
            f"{path}: not a safetensors file: {resembles(head) if head else 'it is empty'}; save the tensors with "
            "safetensors.torch.save_file first"
        ) from error


def write(path: str | os.PathLike[str], samples: Any, signal: Any) -> None:
    """As `media.kinds.write`; a tensor without a name becomes `tensor`."""
    named = {"tensor": samples} if isinstance(samples, Tensor) else samples
    contiguous = {name: tensor.contiguous() for name, tensor in named.items()}
    atomic_write(path, save(contiguous, {"format": "pt"}))  # which transformers asks for


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises ValueError unless `path` ends in .safetensors."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: tensors are written as .safetensors; got the suffix {Path(path).suffix!r}")
