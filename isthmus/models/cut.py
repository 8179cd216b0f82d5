# SPDX-License-Identifier: Apache-2.0
"""A network in two at one of its modules: what runs before and with it, and what runs on its output."""

from collections.abc import Sequence
from difflib import get_close_matches

from torch import fx, nn

from isthmus.models.traced import changes, half, trace


def cut(model: nn.Module, at: str, keep: Sequence[str] = ()) -> tuple[nn.Module, nn.Module]:
    """`front` and `tail` with tail(front(x)) = model(x); both share the model's weights and its training mode.

    at: the path of a module, as `named_modules` has it ("layer2", "features.3"), whose output is all that goes on: what
    runs beside it, as a skip connection past it, cannot be cut. `front` runs all that the model runs before it, in
    order, what changes tensors in place too; what asks whether the model trains asks its half, so that `train` and
    `eval` of each are honest. keep: paths of modules that stay whole, with their hooks. Raises ValueError for a path
    that is not there, is not run or run more than once, for such connections, for tensors beside it that are changed
    behind it, and as `traced.trace` does.
    """
    for path in (at, *keep):
        check_path(model, path)
    graph = trace(model, at, *keep)
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == at]
    if len(calls) != 1:
        raise ValueError(f"cut: {type(model).__name__} runs {at} {len(calls)} times, expected once")
    front, tail = _front(graph, calls[0]), _tail(graph, calls[0], at, model)
    return half(model, front), half(model, tail)


def check_path(model: nn.Module, path: str) -> None:
    """Raises ValueError, with the nearest names, where a model has no such module."""
    names = [name for name, _ in model.named_modules() if name]
    if path not in names:
        alike = [name for name in names if name.count(".") == path.count(".")]
        near = get_close_matches(path, names, 4, 0.7) or alike or names
        raise ValueError(f"no module {path!r} in {type(model).__name__}; there are {', '.join(near[:12])} ...")


def _front(graph: fx.Graph, place: fx.Node) -> fx.Graph:
    """All that runs before a node: also what it does not depend on, which may change what it does."""
    made, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        copies[node] = made.node_copy(node, copies.__getitem__)
        if node is place:
            break
    made.output(copies[place])
    return made


def _tail(graph: fx.Graph, place: fx.Node, at: str, model: nn.Module) -> fx.Graph:
    """All that depends on the output of a node, and what is made of weights alone behind it.

    Raises ValueError where that is not all it depends on, and for what changes tensors beside it.
    """
    made, copies, own = fx.Graph(), dict[fx.Node, fx.Node](), set[fx.Node]()  # own: weights, and what is made of them
    copies[place] = made.placeholder("feature")
    behind = False
    for node in graph.nodes:
        inputs = node.all_input_nodes
        follows = behind and any(other in copies and other not in own for other in inputs)
        if not follows and behind and changes(node, model):
            raise ValueError(f"cut: {node.name} runs behind {at}, and changes what is beside it: cut elsewhere")
        of_weights = (
            behind
            and node.op != "output"
            and bool(inputs)
            and all(other in own or other.op == "get_attr" for other in inputs)
        )
        if follows or of_weights:
            for other in inputs:
                if other in copies:
                    continue
                if other.op != "get_attr":
                    raise ValueError(f"cut: {node.name} runs behind {at}, and on {other.name} beside it: cut elsewhere")
                copies[other] = made.node_copy(other)
                own.add(other)
            copies[node] = made.node_copy(node, copies.__getitem__)
            if not follows:
                own.add(node)
        behind = behind or node is place
    if not any(node.op == "output" for node in made.nodes):
        raise ValueError(f"cut: the output does not depend on {at}")
    return made
