# SPDX-License-Identifier: Apache-2.0
"""Models and pipelines of diffusers from compressed folders; their own loader knows plain files alone."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from isthmus.codecs.dfloat.tensors import TORCH
from isthmus.errors import MissingExtraError, UnreadableFileError
from isthmus.weights.attached.attach import attach
from isthmus.weights.folders.names import PACKED
from isthmus.weights.reading import OpenWeights

DTYPES = ("dtype", "torch_dtype")  # as options are called, today and before


def is_diffusion(model_class: Any) -> bool:
    """Whether a class is a model or a pipeline of diffusers."""
    return isinstance(model_class, type) and any(
        c.__module__.partition(".")[0] == "diffusers" for c in model_class.mro()
    )


def load_diffusion(path: Path, model_class: Any, attach_options: dict[str, Any], options: dict[str, Any]) -> Any:
    """A model, or a pipeline whose compressed models are attached. options: diffusers' own, of a model its dtype alone.

    Raises UnreadableFileError where there is no such folder, ValueError for other options, and as `attach`.
    """
    if not path.is_dir():
        raise UnreadableFileError(f"{path}: no such folder; compressed models of diffusers are loaded from folders")
    if hasattr(model_class, "from_config") and hasattr(model_class, "load_state_dict"):
        return _model(path, model_class, attach_options, options)
    import diffusers

    parts = dict(options)
    for name, part in _parts_of(path).items():
        wanted = getattr(diffusers, str(part[1]), None) if part[0] == "diffusers" else None
        compressed = any((path / name).glob(f"*{PACKED}"))
        if compressed and name not in parts and isinstance(wanted, type) and issubclass(wanted, torch.nn.Module):
            parts[name] = _model(path / name, wanted, attach_options, {k: options[k] for k in DTYPES if k in options})
    return model_class.from_pretrained(path, **parts)


def _parts_of(pipeline: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads((pipeline / "model_index.json").read_text(encoding="utf-8"))
        return {k: v for k, v in found.items() if isinstance(v, list) and len(v) == 2}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UnreadableFileError(f"{pipeline}: no pipeline of diffusers: model_index.json: {error}") from None


def _model(path: Path, model_class: Any, attach_options: dict[str, Any], options: dict[str, Any]) -> Any:
    try:
        from accelerate import init_empty_weights
    except ImportError:
        raise MissingExtraError("weights.from_pretrained needs accelerate: pip install 'isthmus[llm]'") from None
    unknown = sorted(set(options) - set(DTYPES))
    if unknown:
        raise ValueError(f"{model_class.__name__}: unknown options {', '.join(unknown)}; a model takes its dtype alone")
    stored = _dtype_of(path)
    for name in DTYPES:
        if options.get(name) not in (None, "auto", stored):
            raise ValueError(
                f"{path}: weights of {stored} cannot be loaded as {options[name]}; detach() them, then cast"
            )
    with init_empty_weights(include_buffers=False):
        model = model_class.from_config(model_class.load_config(path))
    for module in model.modules():  # not `to`, of which diffusers warns
        module._apply(lambda t: t.to(stored) if t.is_floating_point() else t, recurse=False)
    attach(model, path, **attach_options)
    return model.eval()


def _dtype_of(path: Path) -> torch.dtype:
    """That of most weights."""
    sizes: Counter[str] = Counter()
    with OpenWeights(path) as file:
        for name in file:
            part = file.get_slice(name)
            sizes[part.get_dtype()] += torch.Size(part.get_shape()).numel()
    return TORCH[max(sizes, key=lambda dtype: sizes[dtype])]
