# SPDX-License-Identifier: Apache-2.0
"""The steps of a network, as torch.fx finds them, with those that change tensors in place."""

import inspect
import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

IN_PLACE = (
    "iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "imatmul", "setitem",
)  # fmt: skip
MODE = "_mode_of_half"
PLAIN = (bool, int, float, str, type(None))
CONSTANT = re.compile(r"_tensor_constant\d+")  # attributes that torch.fx adds
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def in_place(name: str, *values: Any) -> Any:
    """An operator such as `iadd` (x += y) as a step of a graph; torch.fx knows of none, and would record x + y."""
    return getattr(operator, name)(*values)


class Mode(nn.Module):
    """Part of a half that knows whether it trains."""


def pick(mode: Mode, training: Any, judged: Any) -> Any:
    """What a step is told when its half trains, or else."""
    return training if mode.training else judged


class _Proxy(fx.Proxy):  # type: ignore[misc]
    """Stands for a tensor while a network is traced; `x += y` and `x[...] = y` are steps of their own."""


def _recorded(name: str) -> Callable[..., Any]:
    def method(own: Any, *values: Any) -> Any:
        return own.tracer.create_proxy("call_function", in_place, (name, own, *values), {})

    return method


for _name in IN_PLACE:
    setattr(_Proxy, f"__{_name}__", _recorded(_name))


class _Tracer(fx.Tracer):  # type: ignore[misc]
    """Takes the modules at `places` as steps, and those without modules in them, whose code it need not know."""

    proxy_buffer_attributes = True  # else what changes them in place would be done once, while tracing

    def __init__(self, places: tuple[str, ...]) -> None:
        super().__init__()
        self.places = places

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return name in self.places or not any(module.children()) or super().is_leaf_module(module, name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def trace(model: nn.Module, *places: str) -> fx.Graph:
    """The steps of a network, of which the modules at `places` are one each.

    Modules that are steps ask whether they train as they run; what else depends on it, as F.dropout(x, p,
    self.training), asks a `Mode` (see `half`). Raises ValueError for a model that torch.fx cannot trace, and where
    steps would not be all that it does: with hooks of its own (those of its modules are kept), with a forward that
    takes other steps in training mode, draws numbers of no tensor's shape, or sets attributes.
    """
    name = type(model).__name__
    if any(getattr(model, hooks, None) for hooks in HOOKS):
        raise ValueError(f"cut: {name} has hooks of its own, which neither half would run: hook a module of it")
    modes = {module: module.training for module in model.modules()}
    held = {module: _held(module) for module in modes}
    graphs = []
    try:
        for training in (True, False, True):
            for module in modes:
                module.training = training
            graphs.append(_Tracer(places).trace(model))
            if any(_set(module, before) for module, before in held.items()):
                raise ValueError("its forward sets attributes, which neither half would do")
        told = [str(_values(graph)) for graph in graphs]
        honest = told[0] == told[2] and _both(graphs[0], graphs[1], model)
    except Exception as error:  # whatever the code of a model does with what is no tensor
        raise ValueError(f"cut: torch.fx cannot trace {name}: {error}") from error
    finally:
        for module, before in held.items():
            for own, known in zip(_dicts(module), before, strict=True):
                made = {key: value for key, value in own.items() if CONSTANT.fullmatch(key)}
                own.clear()
                own.update({**known, **made})
            module.training = modes[module]
    if not honest:
        raise ValueError(
            f"cut: the forward of {name} takes other steps when it trains, or each time: choose by modules "
            "(nn.Dropout, nn.Identity), which ask as they run"
        )
    return graphs[0]


def half(model: nn.Module, graph: fx.Graph) -> nn.Module:
    """A network of some of the steps of `trace`, with the weights, buffers, modules and mode of the model."""
    mode = Mode().train(model.training)
    model.add_module(MODE, mode)
    try:
        return fx.GraphModule(model, graph)
    finally:
        del model._modules[MODE]


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


def _values(graph: fx.Graph) -> list[Any]:
    """Arguments of all steps, which are the same each time unless they are drawn."""
    return [(node.op, node.name if node.op != "get_attr" else "", node.args, node.kwargs) for node in graph.nodes]


def _both(one: fx.Graph, other: fx.Graph, model: nn.Module) -> bool:
    """Makes of a graph one that is right in either mode, by values of `other` where they differ; False if none is."""
    pairs = list(zip(one.nodes, other.nodes, strict=False))
    if len(one.nodes) != len(other.nodes):
        return False
    twins = dict(pairs)
    for node, twin in pairs:
        if node.op != twin.op or not _alike(node, twin, model):
            return False
        try:
            with one.inserting_before(node):
                args, kwargs = _merged(node.args, twin.args, twins, one), _merged(node.kwargs, twin.kwargs, twins, one)
        except ValueError:
            return False
        node.args, node.kwargs = args, kwargs
    return True


def _alike(node: fx.Node, twin: fx.Node, model: nn.Module) -> bool:
    """Whether what two nodes run is the same; of constants their values, as each trace gives them other names."""
    if node.op == "get_attr" and CONSTANT.fullmatch(str(node.target)) and CONSTANT.fullmatch(str(twin.target)):
        return torch.equal(getattr(model, str(node.target)), getattr(model, str(twin.target)))
    return node.target == twin.target


def _merged(one: Any, other: Any, twins: dict[fx.Node, fx.Node], graph: fx.Graph) -> Any:
    """Arguments of a node and of its twin as one. Raises ValueError where they are of other nodes or shapes."""
    if isinstance(one, fx.Node) or isinstance(other, fx.Node):
        if twins.get(one) is not other:
            raise ValueError
        return one
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        made = [_merged(a, b, twins, graph) for a, b in zip(one, other, strict=True)]
        return tuple(made) if isinstance(one, tuple) else made
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {name: _merged(one[name], other[name], twins, graph) for name in one}
    if isinstance(one, slice) and isinstance(other, slice):
        return slice(*_merged((one.start, one.stop, one.step), (other.start, other.stop, other.step), twins, graph))
    if type(one) is type(other) and one == other:
        return one
    if not (isinstance(one, PLAIN) and isinstance(other, PLAIN)):
        raise ValueError
    return graph.call_function(pick, (graph.get_attr(MODE), one, other))
