# SPDX-License-Identifier: Apache-2.0
"""A trained head as one safetensors file: weights, and in its metadata all that is needed to use it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.files import atomic_write
from isthmus.models.heads import build_head
from isthmus.models.heads.dense import DenseHead
from isthmus.models.heads.facts import HeadFacts

__all__ = ["NAME", "HeadFacts", "digest_of", "load_head", "save_head"]

NAME, KEY = "head.safetensors", "isthmus-head"
OWN = "split:"  # heads whose network is the user's own
LIMIT = 1 << 31


def save_head(folder: Path, facts: HeadFacts, weights: dict[str, Tensor]) -> Path:
    """Writes `head.safetensors`, all of it or nothing."""
    path = folder / NAME
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    atomic_write(path, save(tensors, {KEY: facts.pack()}))
    return path


def _file(path: Path) -> Path:
    """Of the folder of a run, the file in it."""
    return path / NAME if path.is_dir() else path


def digest_of(path: Path) -> str:
    """16 hexadecimal digits of the SHA-256 of a head's file, or of that in the folder of a run."""
    return hashlib.sha256(_file(path).read_bytes()).hexdigest()[:16]


def load_head(path: Path, build: Callable[[HeadFacts], nn.Module] | None = None) -> tuple[nn.Module, HeadFacts]:
    """A head in eval mode, from a file or the folder of a run. Raises UnreadableFileError, CorruptStreamError.

    build: makes the network that its facts tell of, where that is none of isthmus.
    """
    path = _file(path)
    if not path.is_file():
        raise UnreadableFileError(f"{path}: no trained head; expected the folder of a run that has ended")
    try:
        if path.stat().st_size > LIMIT:
            raise ValueError(f"{path.stat().st_size} bytes, at most {LIMIT} are read")
        with safe_open(path, "pt") as file:
            facts = HeadFacts.unpack(_metadata(file.metadata()))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if build is None and facts.head.startswith(OWN):
            own = facts.head.removeprefix(OWN)
            raise ValueError(f"its network, {own}, is none of isthmus: isthmus.split.SplitModel.load takes it")
        with torch.device("meta"):
            model = build(facts) if build else build_head(facts.head, facts.input, facts.outputs)
        if isinstance(model, DenseHead) != (facts.task == "dense"):
            raise ValueError(f"a {facts.head} for the task {facts.task}")
        _check_types(tensors, model.state_dict())
        model.load_state_dict(tensors, assign=True)
    except KeyError as error:
        raise CorruptStreamError(f"{path}: not a trained head of isthmus: it does not say {error}") from error
    except (TypeError, ValueError, OverflowError, RuntimeError, RecursionError, SafetensorError) as error:
        told = " ".join(str(error).split())
        raise CorruptStreamError(f"{path}: not a trained head of isthmus: {told[:300]}") from error
    return model.eval(), facts


def _metadata(told: dict[str, str] | None) -> str:
    if not told or KEY not in told:
        raise ValueError(f"its metadata have no {KEY}")
    return told[KEY]


def _check_types(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raises ValueError for weights of another type than the head's, and for such that are no numbers."""
    for name, value in tensors.items():
        if name in expected and value.dtype != expected[name].dtype:
            raise ValueError(f"weights {name} of {value.dtype}, expected {expected[name].dtype}")
        if not value.isfinite().all():
            raise ValueError(f"weights {name} that are no numbers")
