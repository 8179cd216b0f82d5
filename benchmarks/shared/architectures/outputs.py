# SPDX-License-Identifier: Apache-2.0
"""What a model puts out, flat, and whether two outputs are the same bits."""

from collections.abc import Mapping
from typing import Any

import torch

Outputs = dict[str, torch.Tensor]
INTEGER = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def run(model: Any, inputs: Mapping[str, Any]) -> Outputs:
    """Every tensor that comes out, by its path. Seeded, as some models draw noise in `forward`."""
    torch.manual_seed(0)
    given = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
    with torch.no_grad():
        return flat(model(**given))


def flat(value: Any, path: str = "", depth: int = 0) -> Outputs:
    """Tensors of nested outputs, caches included."""
    if isinstance(value, torch.Tensor):
        return {path: value.detach().clone()}
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    elif type(value).__module__.startswith(("transformers.", "diffusers.")) and depth < 8:
        items = vars(value).items()
    found: Outputs = {}
    for name, one in items:
        found |= flat(one, f"{path}.{name}" if path else str(name), depth + 1)
    return found


def numbers(outputs: Outputs) -> bool:
    """Whether the first output of floats has no NaN, with which a comparison says little; some mask with infinity."""
    floats = [one for one in outputs.values() if one.is_floating_point() and one.numel()]
    return bool(floats) and not bool(torch.isnan(floats[0]).any())


def difference(found: Outputs, wanted: Outputs) -> tuple[str, float] | None:
    """The first output that differs in a bit, and by how much at most; None where all are the same."""
    if list(found) != list(wanted):
        return "names of outputs", float("nan")
    for name, one in wanted.items():
        other = found[name]
        if other.shape != one.shape or other.dtype != one.dtype:
            return f"{name}: {other.dtype} {tuple(other.shape)}, not {one.dtype} {tuple(one.shape)}", float("nan")
        if not _same(other, one):
            return name, float((other.double() - one.double()).abs().max()) if not one.is_complex() else float("nan")
    return None


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.is_complex():
        one, other = torch.view_as_real(one), torch.view_as_real(other)
    if one.dtype == torch.bool or not one.is_floating_point():
        return torch.equal(one, other)
    kind = INTEGER[one.element_size()]
    return torch.equal(one.contiguous().view(kind), other.contiguous().view(kind))
