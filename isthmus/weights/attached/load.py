# SPDX-License-Identifier: Apache-2.0
"""A model's parameters and buffers matched with the tensors of a source, and those put in place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.weights.attached.group import Slot
from isthmus.weights.attached.items import Item
from isthmus.weights.attached.source import Source

Device = str | int | torch.device
SHOWN = 5  # names in an error
SMALL = 1 << 16  # bytes below which a tensor is decoded to stay: more time would go into each call than into decoding


class Devices:
    """Where each module's weights go: one device, one for names of modules each, or where they are."""

    def __init__(self, device: Device | Mapping[str, Device] | None) -> None:
        by_name = device if isinstance(device, Mapping) else {} if device is None else {"": device}
        self._by_name = {name: torch.device(where) for name, where in by_name.items()}

    def of(self, name: str, tensor: Tensor) -> torch.device:
        """The device of a tensor of the model by its full name."""
        fitting = [prefix for prefix in self._by_name if not prefix or f"{name}.".startswith(f"{prefix}.")]
        if fitting:
            return self._by_name[max(fitting, key=len)]
        return tensor.device if tensor.device.type != "meta" else torch.device("cpu")

    def hook(self, model: nn.Module) -> list[Any]:
        """Where there are several devices: moves the inputs of each named module to its own. Returns the hooks."""
        if len(set(self._by_name.values())) < 2:
            return []
        modules = dict(model.named_modules())

        def mover(device: torch.device) -> Any:
            def move(_: nn.Module, args: Any, kwargs: Any) -> Any:
                return _moved(args, device), _moved(kwargs, device)

            return move

        return [
            modules[name].register_forward_pre_hook(mover(device), prepend=True, with_kwargs=True)
            for name, device in self._by_name.items()
            if name in modules
        ]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if type(value) in (list, tuple):
        return type(value)(_moved(part, device) for part in value)
    if type(value) is dict:
        return {key: _moved(part, device) for key, part in value.items()}
    return value


@dataclass(frozen=True)
class Loaded:
    """items, by name. slots: for each item, of each of its tensors. owners: for each item, names of the modules that
    have its tensors. unused: as in `Attachment`.
    """

    items: dict[str, Item]
    slots: dict[str, list[list[Slot]]]
    owners: dict[str, list[str]]
    unused: tuple[str, ...]


@dataclass
class _Place:
    """A tensor of the model, under all its names."""

    tensor: Tensor
    names: list[str] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)


def load(model: nn.Module, source: Source, devices: Devices, *, strict: bool) -> Loaded:
    """Puts plain tensors in place, and empty parameters where compressed ones belong. Errors as `attach` says.

    Nothing of the model is changed before everything is found to fit.
    """
    places = _places(model)
    known = {*source.compressed, *source.plain}
    chosen = {name: place for place in places for name in [n for n in place.names if n in known][:1]}
    lost = [place for place in places if not known.intersection(place.names)]
    missing = [place.names[0] for place in lost if strict or place.tensor.is_meta]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ValueError(
            f"attach: the source has no {', '.join(missing[:SHOWN])}{more}; it is of another model, or names its "
            "tensors in another way"
        )
    _refuse_meta_buffers(model)
    shapes = {name: tuple(place.tensor.shape) for name, place in chosen.items()}
    wanted_items = dict.fromkeys(source.compressed[name] for name in chosen if name in source.compressed)
    for name, key in source.compressed.items():
        if key in wanted_items and name not in chosen:
            raise ValueError(f"attach: the model has no {name}, which the source keeps together with others in {key}")
    items = {key: source.item(key, shapes) for key in wanted_items}
    plain = {name: source.tensor(name) for name in chosen if name not in source.compressed}
    for name, dtype, shape in [
        *((n, item.dtype, shape) for item in items.values() for n, shape in zip(item.names, item.shapes, strict=True)),
        *((name, tensor.dtype, tuple(tensor.shape)) for name, tensor in plain.items()),
    ]:
        wanted = chosen[name].tensor
        if wanted.dtype != dtype or tuple(wanted.shape) != shape:
            raise ValueError(
                f"attach: {name} is {dtype} {list(shape)} in the source, but {wanted.dtype} {list(wanted.shape)} in "
                "the model; make the model with the source's config and dtype"
            )
    for key, item in list(items.items()):
        shown = all(isinstance(chosen[name].tensor, nn.Parameter) for name in item.names)
        if item.size * item.dtype.itemsize < SMALL or not shown:  # modules compute with buffers at any time
            plain |= _decoded(items.pop(key))
    for name, tensor in plain.items():
        _put(chosen[name], tensor.to(devices.of(name, chosen[name].tensor)).clone())
    for item in items.values():
        for name in item.names:
            _put(chosen[name], torch.empty(0, dtype=item.dtype, device=devices.of(name, chosen[name].tensor)))
    return Loaded(
        items,
        {key: [chosen[name].slots for name in item.names] for key, item in items.items()},
        {key: [n.rpartition(".")[0] for name in item.names for n in chosen[name].names] for key, item in items.items()},
        tuple(sorted(known - set(chosen))),
    )


def _decoded(item: Item) -> dict[str, Tensor]:
    """An item's tensors by name."""
    flat, found, end = torch.empty(item.size, dtype=item.dtype), {}, 0
    item.decode(flat, 1)
    for name, count, shape in zip(item.names, item.counts, item.shapes, strict=True):
        found[name], end = flat[end : end + count].view(shape), end + count
    return found


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


def _places(model: nn.Module) -> list[_Place]:
    """All parameters and those buffers that are saved; one place for what is one tensor."""
    found: dict[int, _Place] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        saved = {name: b for name, b in module._buffers.items() if name not in module._non_persistent_buffers_set}
        for name, tensor in {**module._parameters, **saved}.items():
            if tensor is not None:
                place = found.setdefault(id(tensor), _Place(tensor))
                place.names.append(f"{prefix}.{name}" if prefix else name)
                if (module, name) not in place.slots:
                    place.slots.append((module, name))
    return list(found.values())


def _put(place: _Place, tensor: Tensor) -> None:
    """Makes `tensor` what the model has in a place, as a parameter without gradients or a buffer."""
    new = nn.Parameter(tensor, requires_grad=False) if isinstance(place.tensor, nn.Parameter) else tensor
    for module, name in place.slots:
        setattr(module, name, new)
