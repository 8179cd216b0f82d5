# SPDX-License-Identifier: Apache-2.0
"""A trained head as one safetensors file: weights, and in its metadata all that is needed to use it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.files import atomic_write
from isthmus.models.heads import LatentInput, build_head

NAME, KEY, VERSION = "head.safetensors", "isthmus-head", 1
LIMIT = 1 << 31


@dataclass(frozen=True)
class HeadFacts:
    """What a head is and reads. task: "classify", "dense" or "tag". codec, settings: as a manifest has them; with
    `tables`, by codec id, they say which latents it takes. asked: what its task was told, such as the column `tags`,
    without which a "tag" is one class a sample. recipe, results: how it was made, for people."""

    task: str
    head: str
    input: LatentInput
    outputs: int
    classes: list[str] | None
    codec: dict[str, Any]
    settings: dict[str, Any]
    asked: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def pack(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def unpack(cls, text: str) -> "HeadFacts":
        """Raises KeyError, TypeError or ValueError."""
        told = dict(json.loads(text))
        if told.pop("version") != VERSION:
            raise ValueError(f"another version than {VERSION}")
        about = told["input"]
        about = LatentInput(**{**about, "mean": tuple(about["mean"]), "std": tuple(about["std"])})
        if about.axes not in (1, 2) or not len(about.mean) == len(about.std) == about.channels:
            raise ValueError(f"an input of {about.channels} channels along {about.axes} axes")
        found = cls(**{**told, "input": about})
        if type(found.outputs) is not int or not 0 < found.outputs < 1 << 20:
            raise ValueError(f"{found.outputs!r} outputs")
        if not isinstance(found.asked, dict) or not isinstance(found.asked.get("tags", ""), str):
            raise ValueError(f"its task was told {found.asked!r}")
        if found.classes is not None and len(found.classes) != found.outputs:
            raise ValueError(f"{len(found.classes)} classes for {found.outputs} outputs")
        return found


def save_head(folder: Path, facts: HeadFacts, weights: dict[str, Tensor]) -> Path:
    """Writes `head.safetensors`, all of it or nothing."""
    path = folder / NAME
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    atomic_write(path, save(tensors, {KEY: facts.pack()}))
    return path


def load_head(path: Path) -> tuple[nn.Module, HeadFacts]:
    """A head in eval mode, from a file or the folder of a run. Raises UnreadableFileError, CorruptStreamError."""
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise UnreadableFileError(f"{path}: no trained head; expected the folder of a run that has ended")
    try:
        if path.stat().st_size > LIMIT:
            raise ValueError(f"{path.stat().st_size} bytes, at most {LIMIT} are read")
        with safe_open(path, "pt") as file:
            facts = HeadFacts.unpack((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        with torch.device("meta"):
            model = build_head(facts.head, facts.input, facts.outputs)
        model.load_state_dict(tensors, assign=True)
        if not all(value.isfinite().all() for value in tensors.values()):
            raise ValueError("weights that are no numbers")
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError, SafetensorError) as error:
        raise CorruptStreamError(f"{path}: not a trained head of isthmus: {error}") from error
    return model.eval(), facts
