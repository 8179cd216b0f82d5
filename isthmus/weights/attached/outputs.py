# SPDX-License-Identifier: Apache-2.0
"""What a block gives back must not lie in memory that the next block's weights will take."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of a result, in lists, tuples and mappings too."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))


def _lies_in(tensor: Tensor, memory: list[Tensor]) -> bool:
    if tensor.layout != torch.strided or tensor.is_meta or tensor.numel() == 0:
        return False
    place = tensor.untyped_storage().data_ptr()
    return any(place == buffer.untyped_storage().data_ptr() for buffer in memory)


def copied_out(value: Any, memory: list[Tensor]) -> Any:
    """`value`, with copies of those tensors that lie in `memory`; the same object if there are none.

    Raises RuntimeError for such a tensor within anything but a list, a tuple or a dict.
    """
    if not any(_lies_in(tensor, memory) for tensor in _tensors(value)):
        return value
    if isinstance(value, Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(copied_out(part, memory) for part in value)
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(copied_out(part, memory) for part in value)
    if type(value) is dict:
        return {key: copied_out(part, memory) for key, part in value.items()}
    raise RuntimeError(
        f"isthmus.weights: a block gives back its own weights within a {type(value).__name__}, whose memory is used "
        "again; attach with larger blocks (blocks=), or detach"
    )
