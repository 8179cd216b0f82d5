# SPDX-License-Identifier: Apache-2.0
"""Where the weights of a group are in the memory that they are decoded to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from isthmus.weights.attached.decoding.items import DeviceItem, Item, Job
from isthmus.weights.attached.tensors.nodes import Node, Plain, Stored, evaluate, is_view_of_one, leaves, places

ALIGN = 512  # bytes, at which each weight begins, as what torch allocates does: matrix products may choose by it


@dataclass(frozen=True)
class Views:
    """A group's weights in `memory`: flat, what each item is decoded to; tensors, the weights, in order.

    made: weights that have to be computed from decoded tensors, and what computes them. jobs: what decodes all items,
    where that is the same each time, on devices other than the CPU.
    """

    memory: Tensor
    flat: list[Tensor]
    tensors: list[Tensor]
    made: Sequence[tuple[Tensor, Callable[[], Tensor]]]
    jobs: list[Job]


class Layout:
    """wanted: the weights; names: for each item, what stands for its tensors in these.

    A weight that is merged of several gets a room of its own. On the CPU what it is merged of is decoded right there.
    """

    def __init__(self, wanted: list[Node], names: list[list[Stored]], items: list[Item]) -> None:
        self._wanted, self._names, self._items = wanted, names, items
        self._rooms: dict[int, int] = {}  # place in bytes, by the number of the weight
        self._inside: dict[Stored, int] = {}  # places of tensors that lie in such rooms
        self._places: list[int] = []  # of items
        end = 0
        alone = {some[0] for some in names if len(some) == 1}
        on_cpu = not any(isinstance(item, DeviceItem) for item in items)
        for number, node in enumerate(wanted):
            if is_view_of_one(node):
                continue
            self._rooms[number] = end
            found = places(node) if on_cpu else None
            if found is not None and alone.issuperset(found) and not self._inside.keys() & found.keys():
                self._inside |= {leaf: end + place * node.meta.dtype.itemsize for leaf, place in found.items()}
            end = _aligned(end + node.meta.numel() * node.meta.dtype.itemsize)
        for some, item in zip(names, items, strict=True):
            self._places.append(self._inside.get(some[0], end))
            if some[0] not in self._inside:
                end = _aligned(end + item.size * item.dtype.itemsize)
        self.nbytes = end

    def views(self, memory: Tensor) -> Views:
        """The weights in `memory`, uint8 of at least `nbytes`."""
        flat = [
            memory[place : place + item.size * item.dtype.itemsize].view(item.dtype)
            for item, place in zip(self._items, self._places, strict=True)
        ]
        jobs: list[Job] = []
        if memory.device.type != "cpu":
            jobs = [job for item, out in zip(self._items, flat, strict=True) for job in item.jobs(out)]
        stored: dict[Node, Tensor] = {}
        for names, item, out in zip(self._names, self._items, flat, strict=True):
            stored |= dict(zip(names, item.parts(out), strict=True))

        def value(leaf: Node) -> Tensor:
            return leaf.tensor.to(memory.device) if isinstance(leaf, Plain) else stored[leaf]

        tensors: list[Tensor] = []
        made: list[tuple[Tensor, Callable[[], Tensor]]] = []
        for number, node in enumerate(self._wanted):
            compute = partial(evaluate, node, value, memory.device)
            if number not in self._rooms:
                tensors.append(compute())
                continue
            size = node.meta.numel() * node.meta.dtype.itemsize
            room = memory[self._rooms[number] :][:size].view(node.meta.dtype)
            tensors.append(room.as_strided(node.meta.shape, node.meta.stride(), room.storage_offset()))
            if not all(leaf in self._inside for leaf in leaves(node)):
                made.append((tensors[-1], compute))
        return Views(memory, flat, tensors, made, jobs)


def _aligned(place: int) -> int:
    return -(-place // ALIGN) * ALIGN
