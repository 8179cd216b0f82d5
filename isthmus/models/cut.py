# SPDX-License-Identifier: Apache-2.0
"""A network in two at one of its modules: what runs before and with it, and what runs on its output."""

from typing import Any

from torch import fx, nn


class _Tracer(fx.Tracer):  # type: ignore[misc]
    """Takes the module at `place` as one step, and those without modules in them, whose code it need not understand."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return name == self.place or not any(module.children()) or super().is_leaf_module(module, name)


def cut(model: nn.Module, at: str) -> tuple[nn.Module, nn.Module]:
    """`front` and `tail` with tail(front(x)) = model(x); both share the model's weights and its training mode.

    at: the path of a module, as `named_modules` has it ("layer2", "features.3"), whose output is all that goes on: what
    runs beside it, as a skip connection past it, cannot be cut. Raises ValueError for a path that is not there, is not
    run or run more than once, for such connections, and for a model that torch.fx cannot trace.
    """
    if not at or at not in dict(model.named_modules()):
        near = [name for name, _ in model.named_modules() if name and name.count(".") == at.count(".")]
        raise ValueError(f"cut: no module {at!r} in {type(model).__name__}; there are {', '.join(near[:12])} ...")
    tracer = _Tracer(at)
    try:
        graph = tracer.trace(model)
    except Exception as error:  # whatever the code of a model does with what is no tensor
        raise ValueError(f"cut: torch.fx cannot trace {type(model).__name__}: {error}") from error
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == at]
    if len(calls) != 1:
        raise ValueError(f"cut: {type(model).__name__} runs {at} {len(calls)} times, expected once")
    return fx.GraphModule(model, _front(graph, calls[0])), fx.GraphModule(model, _tail(graph, calls[0], at))


def _front(graph: fx.Graph, place: fx.Node) -> fx.Graph:
    """All that the output of a node depends on."""
    needed, waiting = {place}, [place]
    while waiting:
        for node in waiting.pop().all_input_nodes:
            if node not in needed:
                needed.add(node)
                waiting.append(node)
    made, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = made.node_copy(node, copies.__getitem__)
    made.output(copies[place])
    return made


def _tail(graph: fx.Graph, place: fx.Node, at: str) -> fx.Graph:
    """All that depends on the output of a node. Raises ValueError where that is not all it depends on."""
    made, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    copies[place] = made.placeholder("feature")
    own: Any = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if node is place or not any(other in copies and other not in own for other in inputs):
            continue
        for other in inputs:
            if other in copies:
                continue
            if other.op != "get_attr":
                raise ValueError(f"cut: {node.name} runs behind {at}, and on {other.name} beside it: cut elsewhere")
            copies[other] = made.node_copy(other, copies.__getitem__)
            own.add(other)
        copies[node] = made.node_copy(node, copies.__getitem__)
    if not any(node.op == "output" for node in made.nodes):
        raise ValueError(f"cut: the output does not depend on {at}")
    return made
