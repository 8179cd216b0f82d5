# SPDX-License-Identifier: Apache-2.0
"""A model's parameters and buffers matched with the tensors of a source, and those put in place."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from isthmus.weights.attached.devices import Devices
from isthmus.weights.attached.source import Source
from isthmus.weights.attached.tensors.nodes import Deferred, Node, Plain, Stored, aten, defer, leaves, settled
from isthmus.weights.attached.tensors.reading import decoded
from isthmus.weights.attached.tensors.tensor import CompressedTensor

SHOWN = 5  # names in an error
SMALL = 1 << 16  # bytes below which a tensor is decoded to stay: more time would go into each call than into decoding


@dataclass(frozen=True)
class Matched:
    """nodes: what each tensor of the model is, by one of its names. missing, unused: names of tensors of the model that
    the source has not, and the other way round.
    """

    nodes: dict[str, Node]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass
class Place:
    """A tensor of a model, under all its names."""

    tensor: Tensor
    names: list[str] = field(default_factory=list)
    slots: list[tuple[nn.Module, str]] = field(default_factory=list)


def match_names(model: nn.Module, source: Source) -> Matched:
    """Tensors that have the same names in the source. Raises ValueError where it keeps some together with others."""
    found = places(model)
    known = {*source.compressed, *source.plain}
    chosen = {name: place for place in found for name in [n for n in place.names if n in known][:1]}
    wanted = {source.compressed[name] for name in chosen if name in source.compressed}
    for name, key in source.compressed.items():
        if key in wanted and name not in chosen:
            raise ValueError(f"attach: the model has no {name}, which the source keeps together with others in {key}")
    tied = [(place, [n for n in place.names if n in known]) for place in found]
    every = {name: tuple(place.tensor.shape) for place, names in tied for name in names}
    nodes = source.nodes(every)
    for _, names in tied:
        for other in names[1:]:
            if not _are_equal(nodes[names[0]], nodes.pop(other)):
                raise ValueError(
                    f"attach: {names[0]} and {other} are one tensor in the model, but two that differ in the source; "
                    "untie them"
                )
    lost = tuple(place.names[0] for place in found if not known.intersection(place.names))
    return Matched(nodes, lost, tuple(sorted(known - set(every))))


def _are_equal(one: Node, other: Node) -> bool:
    a, b = (decoded(node, torch.device("cpu")).reshape(-1).view(torch.uint8) for node in (one, other))
    return torch.equal(a, b)


def put(model: nn.Module, matched: Matched, devices: Devices, *, strict: bool) -> None:
    """Gives a model what was matched; the rest of it stays as it is. Errors as `attach` says.

    Nothing of the model is changed before everything is found to fit.
    """
    found = places(model)
    attached = [place.names[0] for place in found if isinstance(place.tensor, CompressedTensor)]
    if attached:
        raise ValueError(f"attach: {attached[0]} is compressed already; detach() what is attached first")
    by_name = {name: place for place in found for name in place.names}
    _refuse_missing([by_name[name] for name in matched.missing], strict=strict)
    if not matched.nodes and found:
        raise ValueError(f"attach: none of the source's tensors is the model's: it has {_some(list(matched.unused))}")
    _refuse_meta_buffers(model)
    devices.check(model)
    nodes = _checked(model, matched.nodes, by_name)
    made: dict[str, Tensor] = {}
    for name, node in nodes.items():
        place = by_name[name]
        device = devices.of(name, place.tensor)
        is_parameter = isinstance(place.tensor, nn.Parameter)  # modules compute with buffers at any time
        if is_parameter and is_worth_it(node):
            made[name] = CompressedTensor(node, device, label=name)
        else:
            made[name] = ordinary(node, device)
    for name, tensor in made.items():
        _set(by_name[name], tensor)


def settle_pending(model: nn.Module) -> None:
    """Decodes what is not worth being compressed of a model that others gave compressed tensors."""
    for place in places(model):
        tensor = place.tensor
        if isinstance(tensor, CompressedTensor) and tensor.loading:
            tensor.node = settled(tensor.node)
            if not isinstance(tensor, nn.Parameter) or not is_worth_it(tensor.node):
                _set(place, ordinary(tensor.node, tensor.device))


def is_worth_it(node: Node) -> bool:
    """Whether a tensor stays compressed: it, or what it is kept together with, is not small."""
    stored = [leaf.item for leaf in leaves(node) if isinstance(leaf, Stored)]
    sizes = [node.meta.numel() * node.meta.dtype.itemsize, *(item.size * item.dtype.itemsize for item in stored)]
    return bool(stored) and max(sizes) >= SMALL


def ordinary(node: Node, device: torch.device) -> Tensor:
    """What a node stands for, as a tensor of its own."""
    if isinstance(node, Plain):
        return node.tensor.to(device)
    return decoded(node, device)


def places(model: nn.Module) -> list[Place]:
    """All parameters and those buffers that are saved; one place for what is one tensor."""
    found: dict[int, Place] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        saved = {name: b for name, b in module._buffers.items() if name not in module._non_persistent_buffers_set}
        for name, tensor in {**module._parameters, **saved}.items():
            if tensor is not None:
                place = found.setdefault(id(tensor), Place(tensor))
                place.names.append(f"{prefix}.{name}" if prefix else name)
                if (module, name) not in place.slots:
                    place.slots.append((module, name))
    return list(found.values())


def _checked(model: nn.Module, nodes: Mapping[str, Node], by_name: Mapping[str, Place]) -> dict[str, Node]:
    """Nodes as the model wants them. Raises ValueError for other shapes and dtypes.

    A checkpoint of transformers may hold some tensors in another dtype than most, and the model has that of most of
    them: such are cast, as `from_pretrained` does, or stay float32 where the class of the model says so.
    """
    kept = _kept_in_float32(model)
    as_stored = {name: _without_cast(node) for name, node in nodes.items()}
    sizes: Counter[torch.dtype] = Counter()
    for node in as_stored.values():
        sizes[node.meta.dtype] += node.meta.numel() if node.meta.is_floating_point() else 0
    main = max(sizes, key=lambda dtype: sizes[dtype]) if sizes else None
    for name, node in as_stored.items():
        wanted = by_name[name].tensor
        if wanted.dtype != node.meta.dtype and wanted.dtype == main and kept is not None:
            stays = node.meta.dtype == torch.float32 and any(part in name.split(".") for part in kept)
            if not stays and node.meta.is_floating_point():
                node = as_stored[name] = _cast(node, wanted.dtype)
            fits = node.meta.is_floating_point()
        else:
            fits = wanted.dtype == node.meta.dtype
        if not fits or wanted.shape != node.meta.shape:
            raise ValueError(
                f"attach: {name} is {node.meta.dtype} {list(node.meta.shape)} in the source, but {wanted.dtype} "
                f"{list(wanted.shape)} in the model; make the model with the source's config and dtype"
            )
        as_stored[name] = _laid_out(node, wanted)
    return as_stored


def _kept_in_float32(model: nn.Module) -> set[str] | None:
    """Parts of names that a model of transformers keeps in float32; None for another model."""
    named = [getattr(model, f"_keep_in_fp32_modules{end}", None) for end in ("", "_strict")]
    return {part for some in named for part in some or ()} if hasattr(model, "_keep_in_fp32_modules") else None


def _cast(node: Node, dtype: torch.dtype) -> Node:
    made = defer(aten._to_copy.default, (node,), {"dtype": dtype})
    assert isinstance(made, Node)
    return made


def _laid_out(node: Node, like: Tensor) -> Node:
    """The node with its numbers in memory in the order that the model has them, which torch computes by."""
    order = sorted(range(like.dim()), key=lambda d: (-like.stride()[d], d))
    if like.is_contiguous() or not like.permute(order).is_contiguous():
        return node
    back = [order.index(d) for d in range(like.dim())]
    for func, args, kwargs in (
        (aten.permute.default, (order,), {}),
        (aten.clone.default, (), {"memory_format": torch.contiguous_format}),
        (aten.permute.default, (back,), {}),
    ):
        made = defer(func, (node, *args), kwargs)
        assert isinstance(made, Node)
        node = made
    return node


def _without_cast(node: Node) -> Node:
    """A node before it is converted to another dtype at the end."""
    node = settled(node)
    while isinstance(node, Deferred) and node.func is aten._to_copy.default:
        below = node.args[0]
        if not below.meta.is_floating_point() or not node.meta.is_floating_point():
            break
        node = below
    return node


def _refuse_missing(lost: list[Place], *, strict: bool) -> None:
    missing = [place.names[0] for place in lost if strict or place.tensor.is_meta]
    if missing:
        raise ValueError(
            f"attach: the source has no {_some(missing)}; it is of another model, or names its tensors in another way"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _refuse_meta_buffers(model: nn.Module) -> None:
    """Buffers that no checkpoint holds must have been computed."""
    for prefix, module in model.named_modules():
        for name in module._non_persistent_buffers_set:
            buffer = module._buffers.get(name)
            if buffer is not None and buffer.is_meta:
                raise ValueError(
                    f"attach: buffer {prefix}.{name} is on the meta device and no file holds it; make the model so "
                    "that its buffers are computed (accelerate's init_empty_weights does)"
                )


def _set(place: Place, tensor: Tensor) -> None:
    """Makes `tensor` what the model has in a place, as a parameter or a buffer."""
    old, new = place.tensor, tensor
    if isinstance(old, nn.Parameter):  # whether it takes gradients decides how torch multiplies, too
        new = nn.Parameter(tensor, requires_grad=old.requires_grad and tensor.is_floating_point())
    for module, name in place.slots:
        setattr(module, name, new)
