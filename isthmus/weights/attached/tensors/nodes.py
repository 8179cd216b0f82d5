# SPDX-License-Identifier: Apache-2.0
"""What a compressed tensor stands for: weights of a file, weights of a running model, or operations on such."""

import weakref
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from isthmus.lazy import cached_property
from isthmus.weights.attached.decoding.items import Item

aten = torch.ops.aten


NODES: "weakref.WeakValueDictionary[int, Node]" = weakref.WeakValueDictionary()  # by id, for compiled graphs


def node_of(number: int) -> "Node":
    """The node of an id in this process."""
    return NODES[number]


class HeldGroup(Protocol):
    """Weights of a running model that are decoded together."""

    @property
    def device(self) -> torch.device:
        """Where they are decoded."""

    def acquire(self, parts: Sequence[slice] | None = None) -> None:
        """Decodes them, or parts of the only one, unless they are; they stay until `release`."""

    def release(self) -> None: ...

    def tensor(self, number: int) -> Tensor:
        """One of them while they are acquired."""

    def shown(self, number: int) -> Tensor | None:
        """One of them if a block of this thread has them acquired, so that they stay while an operation lasts."""

    def apart(self, number: int) -> Tensor:
        """One of them in memory of its own."""


class Node(ABC):
    """meta: a tensor on the meta device with the shape, the strides and the dtype. Nodes but slots do not change."""

    meta: Tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> "Node":
        return self

    def __reduce__(self) -> Any:
        NODES[id(self)] = self
        return node_of, (id(self),)  # compiled graphs are kept so, to be read in this process alone


class Stored(Node):
    """Tensor `number` of an item, as it lies in a file."""

    def __init__(self, item: Item, number: int = 0) -> None:
        self.item, self.number = item, number
        self.meta = torch.empty(item.shapes[number], dtype=item.dtype, device="meta")


class Plain(Node):
    """A tensor that is not compressed."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.meta = tensor, _meta_of(tensor)


class Slot(Node):
    """What a tensor of a model that loads stands for at the moment: others may write to it, and to views of it."""

    def __init__(self, node: Node) -> None:
        self.node, self.meta = node, node.meta


class Held(Node):
    """Tensor `number` of a group of a running model, which has it decoded while a block of the model runs."""

    def __init__(self, group: HeldGroup, number: int, meta: Tensor) -> None:
        self.group, self.number, self.meta = group, number, meta

    @cached_property
    def transposed(self) -> "Deferred":
        """Of a matrix; what linear layers ask for each time they run."""
        made = defer(aten.t.default, (self,), {})
        assert isinstance(made, Deferred)
        return made


class Deferred(Node):
    """What an operation returns, which is done whenever somebody reads that; `picked` of it if it returns several.

    args, kwargs: as the operation takes them, with nodes for tensors, and for devices the one that it is done on.
    """

    def __init__(self, func: Any, args: Any, kwargs: Any, meta: Tensor, picked: int | None = None) -> None:
        self.func, self.args, self.kwargs, self.meta, self.picked = func, args, kwargs, meta, picked

    def of(self, values: Callable[[Node], Tensor], device: torch.device) -> Tensor:
        """The operation done on `values` of its nodes."""
        args, kwargs = tree_map(lambda v: values(v) if isinstance(v, Node) else v, (self.args, self.kwargs))
        if self.func is aten.as_strided.default:  # places count from the beginning of a memory of its own
            args = (args[0].clone(), *args[1:])
        if "device" in kwargs:
            kwargs["device"] = device
        found = self.func(*args, **kwargs)
        return found if self.picked is None else found[self.picked]


def _meta_of(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def defer(func: Any, args: Any, kwargs: Any) -> list[Node] | Node:
    """The node of an operation, or nodes if it returns several. args, kwargs: with nodes for tensors."""

    def meta(value: Any) -> Any:
        return value.meta if isinstance(value, Node) else value

    wanted = {k: v for k, v in kwargs.items() if k != "device"}  # meta tensors stay there
    found = func(*tree_map(meta, args), **tree_map(meta, wanted))
    if isinstance(found, Tensor):
        return Deferred(func, args, kwargs, found)
    return [Deferred(func, args, kwargs, one, number) for number, one in enumerate(found)]


def children(node: Node) -> list[Node]:
    """The nodes that a node is made of."""
    if isinstance(node, Slot):
        return [node.node]
    if not isinstance(node, Deferred):
        return []
    return [value for value in tree_flatten((node.args, node.kwargs))[0] if isinstance(value, Node)]


def leaves(node: Node) -> Iterator[Node]:
    """All that a node is made of in the end, each as often as it is used."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        below = children(node)
        if not below:
            yield node
        waiting += reversed(below)


def is_view(func: Any) -> bool:
    """Whether an operation of aten gives a view of its argument, nothing that it computed."""
    found = _VIEWS.get(func)
    if found is None:
        returns = func._schema.returns
        found = bool(returns) and all(r.alias_info and not r.alias_info.is_write for r in returns)
        found = _VIEWS[func] = found or func in UNSAFE
    return found


_VIEWS: dict[Any, bool] = {}
UNSAFE = (aten.unsafe_split.Tensor, aten.unsafe_split_with_sizes.default)  # views all the same, but for autograd


def settled(node: Node) -> Node:
    """The node without slots: what it stands for now."""
    while isinstance(node, Slot):
        node = node.node
    if not isinstance(node, Deferred):
        return node
    args, kwargs = tree_map(lambda v: settled(v) if isinstance(v, Node) else v, (node.args, node.kwargs))
    return Deferred(node.func, args, kwargs, node.meta, node.picked)


def slot_of(node: Node) -> Slot | None:
    """The slot that a node is, or is views of; None for what is computed."""
    while isinstance(node, Deferred):
        if not is_view(node.func):
            return None
        node = children(node)[0]
    return node if isinstance(node, Slot) else None


def is_view_of_one(node: Node) -> bool:
    """Whether a node is a leaf, or only views of one."""
    while isinstance(node, Deferred):
        below = children(node)
        if not is_view(node.func) or len(below) != 1:
            return False
        node = below[0]
    return True


def evaluate(node: Node, values: Callable[[Node], Tensor], device: torch.device) -> Tensor:
    """What a node stands for; values: of its leaves."""
    while isinstance(node, Slot):
        node = node.node
    if isinstance(node, Deferred):
        return node.of(lambda below: evaluate(below, values, device), device)
    return values(node)


def places(node: Node) -> dict[Stored, int] | None:
    """Where in a contiguous tensor the leaves of a node end up, in numbers, if it is these and nothing else.

    None where they do not lie there as they are, or one is there twice: such a node has to be computed.
    """
    found: dict[Stored, int] = {}
    whole = torch.empty(node.meta.shape, dtype=node.meta.dtype, device="meta")
    return found if node.meta.is_contiguous() and _place(node, whole, found) else None


def _place(node: Node, out: Tensor, found: dict[Stored, int]) -> bool:
    if isinstance(node, Stored):
        fits = out.is_contiguous() and node not in found and node.meta.dtype == out.dtype
        found[node] = int(out.storage_offset())
        return fits
    if not isinstance(node, Deferred) or node.picked is not None:
        return False
    if node.func in (aten.cat.default, aten.stack.default):
        parts = list(node.args[0])
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if node.func is aten.stack.default:
            outs = list(out.unbind(dim))
        else:
            outs = list(torch.split(out, [part.meta.shape[dim] for part in parts], dim))
        return all(_place(part, one, found) for part, one in zip(parts, outs, strict=True))
    if node.func in _SAME and node.args[0].meta.shape == out.shape and node.args[0].meta.dtype == out.dtype:
        return _place(node.args[0], out, found)
    return False


# What gives the same numbers in the same order.
_SAME = {aten.clone.default, aten.alias.default, aten.detach.default, aten._to_copy.default}
