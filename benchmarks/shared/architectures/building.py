# SPDX-License-Identifier: Apache-2.0
"""A small random model of a type of transformers, whose weights are not zeros and ones where a new one's are."""

import re
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from .inputs import Inputs, guesses
from .model_classes import auto_class_of
from .outputs import numbers, run
from .overrides import OVERRIDES
from .shrinking import Shrinking

LARGEST = 180_000_000  # bytes


class NotBuiltError(Exception):
    """A type of which there is no small model here, and why."""


@dataclass(frozen=True)
class Built:
    """loader: the class whose `from_pretrained` loads it. inputs: those that it takes."""

    model: Any
    loader: Any
    inputs: Inputs


def small_config(model_type: str) -> Any:
    """The type's own default config with small sizes. Raises NotBuiltError."""
    try:
        default = transformers.CONFIG_MAPPING[model_type]()
        return Shrinking(OVERRIDES.get(model_type, {})).config(default)
    except Exception as error:
        raise NotBuiltError(f"config: {reason(error)}") from error


def build(model_type: str, dtype: torch.dtype) -> Built:
    """The model in evaluation mode with noise on every parameter; in float32 where it runs in nothing else.

    Raises NotBuiltError.
    """
    try:
        return build_as(model_type, dtype)
    except NotBuiltError as error:
        if not re.search("[dD]type|BFloat16|scalar type|bias type", str(error)):
            raise
        return build_as(model_type, torch.float32)


def build_as(model_type: str, dtype: torch.dtype) -> Built:
    """`build` in this dtype alone."""
    config = small_config(model_type)
    auto_class = auto_class_of(config)
    if auto_class is None:
        raise NotBuiltError("no auto class")
    try:
        with torch.device("meta"):
            size = sum(p.numel() * p.element_size() for p in auto_class.from_config(config, dtype=dtype).parameters())
    except Exception as error:
        raise NotBuiltError(f"model: {reason(error)}") from error
    if size > LARGEST:
        raise NotBuiltError(f"model: {size / 1e6:.0f} MB")
    torch.manual_seed(0)
    try:
        model = auto_class.from_config(small_config(model_type), dtype=dtype).eval()
    except Exception as error:
        raise NotBuiltError(f"model: {reason(error)}") from error
    add_noise(model)
    return Built(model, auto_class, fitting_inputs(model))


def add_noise(model: torch.nn.Module, scale: float = 0.02) -> None:
    """Noise on every parameter of floats, as those of norms are all ones in a new model; buffers stay."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator) * scale
                parameter.add_(noise.to(parameter.dtype))


def fitting_inputs(model: Any) -> Inputs:
    """The first guess that the model takes and answers with numbers. Raises NotBuiltError with its last complaint."""
    complaint = "no guess"
    for found in guesses(model):
        try:
            outputs = run(model, found)
        except Exception as error:
            complaint = complaint if complaint != "no guess" else f"{sorted(found)}: {reason(error)}"
            continue
        if numbers(outputs):
            return found
        complaint = "outputs are not numbers"
    raise NotBuiltError(f"inputs: {complaint}")


def reason(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
