# SPDX-License-Identifier: Apache-2.0
"""Compressed tensors decoded for as long as an operation needs them."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from isthmus.weights.attached.tensors.nodes import Held, HeldGroup, Node, Plain, Stored, evaluate


class Reading:
    """A context in which nodes have values. Those in shared memory are there to its end, so none may get out."""

    def __init__(self) -> None:
        self._groups: list[HeldGroup] = []
        self._shared: set[int] = set()  # memory that is used again

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for group in self._groups:
            group.release()
        self._groups.clear()

    def value(self, node: Node, device: torch.device, parts: Sequence[slice] | None = None) -> Tensor:
        """What a node stands for; with `parts`, of a group that holds nothing else, these weights of it alone.

        Raises CorruptStreamError for damage.
        """
        return evaluate(node, lambda leaf: self._leaf(leaf, device, parts), device)

    def _leaf(self, node: Node, device: torch.device, parts: Sequence[slice] | None) -> Tensor:
        if isinstance(node, Held):
            if node.group.device != device:  # a part of the model was moved
                return node.group.apart(node.number).to(device)
            node.group.acquire(parts)
            self._groups.append(node.group)
            found = node.group.tensor(node.number)
            self._shared.add(found.untyped_storage().data_ptr())
            return found
        if isinstance(node, Stored):
            return node.item.apart(node.number).to(device)
        assert isinstance(node, Plain)
        self._shared.add(node.tensor.untyped_storage().data_ptr())
        return node.tensor.to(device)

    def own(self, found: Any) -> Any:
        """What an operation returned, with copies of tensors that lie in shared memory."""
        if isinstance(found, Tensor):
            apart = found.layout == torch.strided and not self._is_shared(found)
            return found if apart else found.clone()
        if isinstance(found, list | tuple):
            return type(found)(self.own(one) for one in found)
        return found

    def _is_shared(self, tensor: Tensor) -> bool:
        return tensor.numel() > 0 and tensor.untyped_storage().data_ptr() in self._shared


def decoded(node: Node, device: torch.device) -> Tensor:
    """What a node stands for, in memory of its own."""
    with Reading() as reading, torch.no_grad():
        return reading.own(reading.value(node, device))  # type: ignore[no-any-return]
