# SPDX-License-Identifier: Apache-2.0
"""The steps of a network, as torch.fx finds them, with those that change tensors in place."""

import inspect
import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

IN_PLACE = (
    "iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "imatmul", "setitem",
)  # fmt: skip
CONSTANT = re.compile(r"_tensor_constant\d+")  # attributes that torch.fx adds
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def in_place(name: str, *values: Any) -> Any:
    """An operator such as `iadd` (x += y) as a step of a graph; torch.fx knows of none, and would record x + y."""
    return getattr(operator, name)(*values)


class _Proxy(fx.Proxy):  # type: ignore[misc]
    """Stands for a tensor while a network is traced; `x += y` and `x[...] = y` are steps of their own."""


def _recorded(name: str) -> Callable[..., Any]:
    def method(own: Any, *values: Any) -> Any:
        return own.tracer.create_proxy("call_function", in_place, (name, own, *values), {})

    return method


for _name in IN_PLACE:
    setattr(_Proxy, f"__{_name}__", _recorded(_name))


class _Tracer(fx.Tracer):  # type: ignore[misc]
    """Takes the module at `place` as one step, and those without modules in them, whose code it need not understand."""

    proxy_buffer_attributes = True  # else what changes them in place would be done once, while tracing

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return name == self.place or not any(module.children()) or super().is_leaf_module(module, name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def trace(model: nn.Module, place: str) -> fx.Graph:
    """The steps of a network, of which the module at `place` is one; its modules ask whether they train as they run.

    Raises ValueError for a model that torch.fx cannot trace, and where steps would not be all that it does: with hooks
    of its own (those of its modules are kept), with a forward that does something else in training mode, draws numbers
    of no tensor's shape, or sets attributes.
    """
    name = type(model).__name__
    if any(getattr(model, hooks, None) for hooks in HOOKS):
        raise ValueError(f"cut: {name} has hooks of its own, which neither half would run: hook a module of it")
    modes = {module: module.training for module in model.modules()}
    held = {module: _held(module) for module in modes}
    graphs, told = [], []
    try:
        for training in (True, False):
            for module in modes:
                module.training = training
            graphs.append(_Tracer(place).trace(model))
            told.append(_told(graphs[-1], model))
            if any(_set(module, before) for module, before in held.items()):
                raise ValueError("its forward sets attributes, which neither half would do")
    except Exception as error:  # whatever the code of a model does with what is no tensor
        raise ValueError(f"cut: torch.fx cannot trace {name}: {error}") from error
    finally:
        for module, before in held.items():
            for own, known in zip(_dicts(module), before, strict=True):
                made = {key: value for key, value in own.items() if CONSTANT.fullmatch(key)}
                own.clear()
                own.update({**known, **made})
            module.training = modes[module]
    if not _same(*told):
        raise ValueError(
            f"cut: the forward of {name} is another when it trains, or each time, beside what its modules do: "
            "nn.Dropout for F.dropout(..., self.training), for instance"
        )
    return graphs[0]


def changes(node: fx.Node, model: nn.Module) -> bool:
    """Whether a step changes a tensor in place, as far as its name and arguments say."""
    target: Any = node.target
    if node.op == "call_module":
        return bool(getattr(model.get_submodule(target), "inplace", False))
    if node.op == "call_method":
        return bool(target.endswith("_") and not target.startswith("__"))
    if node.op != "call_function":
        return False
    if target is in_place or "out" in node.kwargs or node.kwargs.get("inplace"):
        return True
    name = getattr(target, "__name__", "")
    if name.endswith("_") and not name.startswith("__"):
        return True
    try:
        return bool(inspect.signature(target).bind(*node.args, **node.kwargs).arguments.get("inplace"))
    except (TypeError, ValueError):  # functions in C, which have no signature
        return False


def _dicts(module: nn.Module) -> list[dict[str, Any]]:
    """Where a module has its attributes, weights and buffers."""
    return [vars(module), module._parameters, module._buffers]


def _held(module: nn.Module) -> list[dict[str, Any]]:
    return [dict(own) for own in _dicts(module)]


def _set(module: nn.Module, before: list[dict[str, Any]]) -> bool:
    """Whether attributes of a module are others than they were."""
    return any(
        key not in known or own[key] is not known[key]
        for own, known in zip(_dicts(module), before, strict=True)
        for key in own
        if key != "training" and not CONSTANT.fullmatch(key)
    )


def _told(graph: fx.Graph, model: nn.Module) -> list[tuple[Any, ...]]:
    """What each step is; of a constant its value, as each trace gives it a name of its own."""
    numbers = {node: number for number, node in enumerate(graph.nodes)}
    found: list[tuple[Any, ...]] = []
    for node in graph.nodes:
        is_constant = node.op == "get_attr" and CONSTANT.fullmatch(node.target)
        target = getattr(model, node.target) if is_constant else node.target
        values = fx.node.map_arg((node.args, node.kwargs), lambda other: f"step {numbers[other]}")
        found.append((node.op, target, repr(values)))
    return found


def _same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    return len(one) == len(other) and all(
        a[::2] == b[::2] and (torch.equal(a[1], b[1]) if isinstance(a[1], Tensor) else a[1] == b[1])
        for a, b in zip(one, other, strict=True)
    )
