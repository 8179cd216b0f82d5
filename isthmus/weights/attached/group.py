# SPDX-License-Identifier: Apache-2.0
"""Weights that are decoded together, and shown in the parameters of a model while these are in use."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from isthmus.weights.attached.buffers import Buffer, BufferPool
from isthmus.weights.attached.items import Item, Job, Pieces, do_jobs
from isthmus.weights.attached.move import settle

ALIGN = 512  # bytes, at which each item begins, as what torch allocates does: matrix products may choose by it

Slot = tuple[nn.Module, str]  # a module, and the name of its parameter


@dataclass(frozen=True)
class Views:
    """A group's weights in `memory`: flat, what each item is decoded to; tensors, those of all items, in order.

    jobs: what decodes all of them, where that is the same each time, on devices other than the CPU.
    """

    memory: Tensor
    flat: list[Tensor]
    tensors: list[Tensor]
    jobs: list[Job]


class Group:
    """Weights that are decoded together, and the parameters that show them while they are in use.

    slots: for each item, for each of its tensors, the parameters that are that tensor (several where weights are tied).
    Outside of use a parameter is empty, of shape [0], so that nothing can compute with it unseen.
    """

    def __init__(self, items: list[Item], slots: list[list[list[Slot]]]) -> None:
        self.items, self.slots = items, slots
        self._users = 0
        self._in_use: tuple[BufferPool, Buffer] | None = None
        self._done: set[int] | None = None  # pieces that are decoded, in use; None for all
        self._home: torch.device | None = None
        self._views: Views | None = None  # of the buffer that was used last
        self._lock, self._moving = threading.Lock(), threading.Lock()
        self._lay_out()

    def _lay_out(self) -> None:
        """Settles where each item begins in a buffer, in bytes."""
        self._views = None
        self._places = [0]
        for item in self.items:
            size = item.size * item.dtype.itemsize
            self._places.append(-(-(self._places[-1] + size) // ALIGN) * ALIGN)
        of_tensors = [slots for of_item in self.slots for slots in of_item]
        self._shown = [(slot[0]._parameters, slot[1], k) for k, slots in enumerate(of_tensors) for slot in slots]

    @property
    def nbytes(self) -> int:
        """Bytes that its weights take, decoded."""
        return self._places[-1]

    @property
    def device(self) -> torch.device:
        """Where the parameters are, so where they are decoded."""
        module, name = self.slots[0][0][0]
        found = module._parameters[name]
        assert found is not None
        return found.device

    def held(self) -> int:
        """Bytes that it holds, compressed."""
        return sum(item.nbytes for item in self.items)

    def settle(self, *, offload: bool, threads: int) -> None:
        """Brings the compressed bytes to where the parameters are, if these have moved."""
        if self.device == self._home:
            return
        with self._moving:
            device = self.device
            if device == self._home:
                return
            self.items, self.slots = settle(self.items, self.slots, device, offload=offload, threads=threads)
            self._lay_out()
            self._home = device

    def views(self, memory: Tensor) -> "Views":
        """Its weights in `memory`, uint8 of at least `nbytes`."""
        if self._views is None or self._views.memory is not memory:
            flat: list[Tensor] = []
            tensors: list[Tensor] = []
            jobs: list[Job] = []
            for item, place in zip(self.items, self._places, strict=False):
                flat.append(memory[place : place + item.size * item.dtype.itemsize].view(item.dtype))
                parts = zip(item.offsets, item.counts, item.shapes, strict=True)
                tensors += [flat[-1][begin : begin + count].view(shape) for begin, count, shape in parts]
                jobs += item.jobs(flat[-1]) if memory.device.type != "cpu" else []
            self._views = Views(memory, flat, tensors, jobs)
        return self._views

    def decode(self, memory: Tensor, threads: int, pieces: Pieces = None) -> None:
        """Writes all weights to `memory`, or some pieces of those of the only item."""
        views = self.views(memory)
        if pieces is not None or not views.jobs:
            jobs = [job for item, flat in zip(self.items, views.flat, strict=True) for job in item.jobs(flat, pieces)]
        else:
            jobs = views.jobs
        do_jobs(jobs, memory.device, threads)

    def acquire(
        self,
        pool_of: Callable[["Group"], BufferPool],
        *,
        offload: bool,
        threads: int,
        parts: Sequence[slice] | None = None,
    ) -> None:
        """Shows the weights in the parameters, decoded if nothing else uses them at the moment.

        parts: those that this user needs, of a group of one item; the others then hold anything. What is decoded
        already is not written again, since others may be reading it.
        """
        with self._lock, torch.no_grad():
            if self._users == 0:
                self.settle(offload=offload, threads=threads)
                pool = pool_of(self)
                buffer = pool.take(self.nbytes)
                try:
                    self._done = set()
                    self._fill(buffer, threads, parts)
                    self.show(self.views(buffer.memory).tensors)
                except BaseException:
                    self._end_use(buffer)
                    pool.give_back(buffer)
                    raise
                self._in_use = pool, buffer
            elif self._in_use is not None:
                self._fill(self._in_use[1], threads, parts)
                self._in_use[1].written.wait()
            self._users += 1

    def _fill(self, buffer: Buffer, threads: int, parts: Sequence[slice] | None) -> None:
        """Decodes what is needed and not there yet."""
        if self._done is None:
            return
        if parts is None and not self._done:
            self.decode(buffer.memory, threads)
            self._done = None
        else:
            item = self.items[0]
            needed = range(item.pieces) if parts is None else chain.from_iterable(map(item.pieces_of, parts))
            missing = set(needed) - self._done
            self.decode(buffer.memory, threads, missing)
            self._done |= missing
        buffer.written.add()

    @staticmethod
    def _end_use(buffer: Buffer) -> None:
        if buffer.used.add() and buffer.memory.is_cuda:
            buffer.memory.record_stream(torch.cuda.current_stream(buffer.memory.device))

    def release(self) -> None:
        """Empties the parameters when the last user is done."""
        with self._lock:
            self._users -= 1
            if self._in_use is None:
                return
            pool, buffer = self._in_use
            self._end_use(buffer)
            if self._users == 0:
                self._in_use = None
                self.show([pool.empty(item.dtype) for item in self.items for _ in item.names])
                pool.give_back(buffer)

    def memory(self) -> list[Tensor]:
        """What its weights are decoded to at the moment; nothing out of use."""
        with self._lock:
            return [] if self._in_use is None else [self._in_use[1].memory]

    def show(self, tensors: Sequence[Tensor]) -> None:
        """Makes `tensors`, those of all items, the data of the parameters.

        These are looked up each time, since `model.to(device)` may put other objects there. Raises ValueError where the
        model has been converted to another dtype.
        """
        pairs = [(parameters[name], tensors[k]) for parameters, name, k in self._shown]
        for parameter, tensor in pairs:
            assert parameter is not None
            if parameter.dtype is not tensor.dtype:
                raise ValueError(
                    f"attached weights are {tensor.dtype}, but the model is {parameter.dtype} now: it cannot be "
                    "converted while weights are attached"
                )
        for parameter, tensor in pairs:
            parameter.data = tensor  # type: ignore[union-attr]
