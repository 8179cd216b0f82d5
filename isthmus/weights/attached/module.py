# SPDX-License-Identifier: Apache-2.0
"""Modules that compute with their weight as it is compressed, where that is possible and pays."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Generic, NoReturn, TypeVar

import torch
from torch import Tensor, nn

from isthmus.kernels.huffman.streams import CHUNK, HuffmanStreams
from isthmus.weights.attached.group import Group
from isthmus.weights.attached.items import DeviceItem, has_kernels

Module = TypeVar("Module", bound=nn.Module)
Weight = TypeVar("Weight")
Decoded = Callable[[Sequence[slice] | None], AbstractContextManager[None]]


def has_forward_of(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether all that a module does when it is called is what `kind` does."""
    plain = isinstance(module, kind) and type(module).forward is kind.forward
    return plain and "forward" not in vars(module) and not hasattr(module, "parametrizations")


class CompressedModule(ABC, Generic[Module, Weight]):
    """Stands for the forward of `module` until `remove`.

    group: what its weight is decoded with. settle: brings the group to where the module is. decoded: gives a context in
    which the weight is there, or parts of it.
    """

    def __init__(self, module: Module, group: Group, settle: Callable[[Group], None], decoded: Decoded) -> None:
        self._module, self._group, self._settle, self._decoded = module, group, settle, decoded
        self._found: tuple[object, Weight | None] = None, None  # the items that it was found in
        vars(module)["forward"] = self

    @abstractmethod
    def __call__(self, input: Tensor) -> Tensor:
        """What the module's forward returns."""

    @abstractmethod
    def _make(self, streams: HuffmanStreams, rest: Tensor) -> Weight:
        """The weight as it is computed with."""

    def _weight(self) -> Weight | None:
        """The weight where it is bf16 on a device that has kernels for it."""
        self._settle(self._group)
        if self._found[0] is not self._group.items:
            self._found = self._group.items, self._find()
        return self._found[1]

    def _find(self) -> Weight | None:
        """It may be a part of what is decoded together."""
        for item, slots in zip(self._group.items, self._group.slots, strict=True):
            if not isinstance(item, DeviceItem) or item.dtype != torch.bfloat16 or not has_kernels(item.streams.device):
                continue
            for begin, count, places in zip(item.offsets, item.counts, slots, strict=True):
                if (self._module, "weight") in places and begin % CHUNK == 0:
                    part = item.streams.part(range(begin // CHUNK, -(-(begin + count) // CHUNK)))
                    return self._make(replace(part, count=count), item.planes[0][begin : begin + count])
        return None

    def remove(self) -> None:
        """Gives the module its own forward again. The weight is there to stay, should others still call this one."""
        if vars(self._module).get("forward") is self:
            del vars(self._module)["forward"]
        self._settle, self._decoded = lambda _: None, lambda _: nullcontext()
        self._found = self._group.items, None

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise RuntimeError(
            "isthmus.weights: a model with attached weights cannot be copied; detach() first, or attach the file to "
            "another model"
        )
