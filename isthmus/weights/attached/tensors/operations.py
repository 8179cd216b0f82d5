# SPDX-License-Identifier: Apache-2.0
"""What operations of aten do with compressed tensors: views are put off, writing is refused, the rest reads them."""

import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from isthmus.weights.attached.tensors.nodes import (
    Deferred,
    Held,
    Node,
    Plain,
    Slot,
    aten,
    defer,
    evaluate,
    is_view,
    settled,
    slot_of,
)
from isthmus.weights.attached.tensors.reading import Reading, decoded
from isthmus.weights.attached.tensors.untraced import untraced
from isthmus.weights.attached.tensors.writes import is_foreign, refuse_write, written

ABSOLUTE = (aten.as_strided_copy.default, aten.as_strided_scatter.default)
SAME = (aten.detach.default, aten.alias.default, aten.lift_fresh.default)
MADE_LIKE = ("empty", "zeros", "ones", "full", "rand", "new_")  # names of what takes no more than a shape

# Operations that linear layers, convolutions and embeddings are made of, each with the place of its weight.
USUAL = {
    aten.t.default: 0, aten.mm.default: 1, aten.addmm.default: 2, aten.convolution.default: 1,
    aten.embedding.default: 0,
}  # fmt: skip

# Operations that do not need all of a weight: func to what tries them, or returns None.
Special = Callable[[Reading, Any, Any], Any]
SPECIAL: dict[Any, Special] = {}


@untraced
def operate(cls: type[Tensor], func: Any, args: Any, kwargs: Any) -> Any:
    """The result of an operation of which some arguments are compressed tensors, which are of type `cls`."""
    place = USUAL.get(func)
    if place is not None and not kwargs:
        done = _usual(cls, func, args, place)
        if done is not None:
            return done
    found: list[Any] = list(_compressed(cls, args, kwargs))
    first = found[0]
    if func._schema.name == "aten::set_":
        refuse_write(first)  # others would share its memory, of which it has none
    to_write = [tensor for tensor in written(func, args, kwargs) if isinstance(tensor, cls)]
    if to_write:
        return _write(cls, to_write, func, args, kwargs)
    if func in SAME:
        return first.like(first.node)
    if any(tensor.is_traced for tensor in found):
        return func(*_swap(cls, args, traced), **_swap(cls, kwargs, traced))
    pending = all(tensor.pending for tensor in found)
    if func is aten._to_copy.default and (moved := _moved(first, kwargs, pending)) is not None:
        return moved
    if _is_composite(func):
        return _take_apart(func, args, kwargs)
    if func not in ABSOLUTE and (is_view(func) or (pending and _gives_tensors(func) and not _is_made_like(func))):
        return _put_off(cls, first, func, args, kwargs)
    with Reading() as reading:
        special = SPECIAL.get(func)
        if special is not None and (done := special(reading, args, kwargs)) is not None:
            return done

        def value(tensor: Any) -> Tensor:
            # Places in memory count, and the tensor's is said to begin at 0; or it is read for longer than this call.
            if func in ABSOLUTE or is_foreign(func):
                return tensor.decode()  # type: ignore[no-any-return]
            return reading.value(tensor.node, tensor.device)

        return reading.own(func(*_swap(cls, args, value), **_swap(cls, kwargs, value)))


def _usual(cls: Any, func: Any, args: Any, place: int) -> Any:
    """The result of an operation that most layers are made of, with a weight that is decoded; None in other cases."""
    weight = args[place]
    if type(weight) is not cls or weight.is_traced:
        return None
    node = weight.node
    if func is aten.t.default:
        return _view(weight, node.transposed) if type(node) is Held else None
    is_transposed = type(node) is Deferred and node.func is aten.t.default
    held = node.args[0] if is_transposed else node
    if type(held) is not Held:
        return None
    shown = held.group.shown(held.number)
    if shown is None or shown.device != weight.device or any(type(v) is cls for v in args if v is not weight):
        return None
    shown = shown.t() if is_transposed else shown
    return func(*args[:place], shown, *args[place + 1 :])


def _compressed(cls: type[Tensor], args: Any, kwargs: Any) -> Iterator[Any]:
    for value in (*args, *kwargs.values()):
        if isinstance(value, cls):
            yield value
        elif isinstance(value, list | tuple):
            yield from _compressed(cls, value, {})


def _swap(cls: type[Tensor], values: Any, by: Callable[[Any], Any]) -> Any:
    """Arguments with `by` of each compressed tensor; operations of aten nest them in lists at most."""
    if isinstance(values, cls):
        return by(values)
    if isinstance(values, dict):
        return {key: _swap(cls, value, by) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_swap(cls, value, by) for value in values)
    return values


def _write(cls: type[Tensor], written: list[Any], func: Any, args: Any, kwargs: Any) -> Any:
    """Does what writes to tensors of a model that loads, which are ordinary from then on; others refuse."""
    own: dict[int, Tensor] = {}
    for tensor in written:
        slot = slot_of(tensor.node) if tensor.pending else None
        if slot is None:
            refuse_write(tensor)
        # Memory of its own each time: what others computed from it before is not to change.
        slot.node = Plain(decoded(slot.node, tensor.device))
        own[id(tensor)] = evaluate(tensor.node, lambda leaf: leaf.tensor, tensor.device)  # type: ignore[attr-defined]
    with Reading() as reading:

        def value(tensor: Any) -> Tensor:
            return own[id(tensor)] if id(tensor) in own else reading.value(tensor.node, tensor.device)

        func(*_swap(cls, args, value), **_swap(cls, kwargs, value))
    return written[0] if len(written) == 1 else None


def _moved(tensor: Any, kwargs: Any, pending: bool) -> Any:
    """A tensor on another device, or in another dtype while it is pending; None where a copy is asked for."""
    device, dtype = kwargs.get("device") or tensor.device, kwargs.get("dtype") or tensor.dtype
    if device.type == "meta":
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=device)
    if kwargs.get("pin_memory") or kwargs.get("layout") not in (None, torch.strided):
        return None
    if dtype == tensor.dtype and device != tensor.device:
        return tensor.like(tensor.node, device)
    if not pending:
        return None
    kept = {key: value for key, value in kwargs.items() if key in ("dtype", "memory_format")}
    cast = defer(aten._to_copy.default, (settled(tensor.node),), kept)
    assert isinstance(cast, Node)
    return tensor.like(Slot(cast), device)


def _put_off(cls: type[Tensor], first: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """The compressed tensors that an operation would return."""

    def node(value: Any) -> Node:
        if not isinstance(value, cls):
            return Plain(value.clone())
        # A view sees what is written later; what is computed does not.
        return value.node if is_view(func) else settled(value.node)  # type: ignore[no-any-return, attr-defined]

    args, kwargs = _swap(Tensor, args, node), _swap(Tensor, kwargs, node)
    made = defer(func, args, kwargs)
    if not is_view(func):
        made = [Slot(one) for one in made] if isinstance(made, list) else Slot(made)
    if is_view(func):
        return [_view(first, one) for one in made] if isinstance(made, list) else _view(first, made)
    return [first.like(one) for one in made] if isinstance(made, list) else first.like(made)


def _view(tensor: Any, node: Node) -> Any:
    """A tensor for a view of another one: in what is taken apart it takes gradients itself, as autograd sees to else.

    Torch multiplies in another order where a matrix does.
    """
    made = tensor.like(node)
    if getattr(_apart, "whole", False) and tensor.requires_grad and not made.is_inference():
        made.requires_grad_()
    return made


def _take_apart(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation as the ones that it is made of; inference mode alone shows it whole."""
    before = getattr(_apart, "whole", False)
    _apart.whole = not is_view(func)  # torch sees to the views that it returns
    try:
        return func.decompose(*args, **kwargs)
    finally:
        _apart.whole = before


_apart = threading.local()


@cache
def _is_composite(func: Any) -> bool:
    return bool(func._can_decompose())


@cache
def _gives_tensors(func: Any) -> bool:
    """Whether an operation returns tensors alone, no numbers."""
    return all("Tensor" in str(one.type) for one in func._schema.returns) and bool(func._schema.returns)


def _is_made_like(func: Any) -> bool:
    return str(func._schema.name).removeprefix("aten::").startswith(MADE_LIKE)


def traced(tensor: Any) -> Any:
    """The tensor as the graph that is being compiled decodes it."""
    return torch.ops.isthmus.decode(
        tensor.handle, list(tensor.shape), list(tensor.stride()), tensor.dtype, tensor.device
    )


def held_matrix(node: Node) -> Held | None:
    """The weight of a running model of which a node is the transpose."""
    below = node.args[0] if isinstance(node, Deferred) and node.func is aten.t.default else None
    return below if isinstance(below, Held) else None
