# SPDX-License-Identifier: Apache-2.0
"""Memory that weights are decoded into, used again and again; never by two groups of weights at once."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from isthmus.weights.attach_items import Item, Parts, move

ALIGN = 64  # bytes, at which each item begins

Slot = tuple[nn.Module, str]  # a module, and the name of its parameter


@dataclass
class Buffer:
    """memory: uint8. last: the stream that used it last, and the end of that use; None on devices without streams."""

    memory: Tensor
    last: tuple[torch.cuda.Stream, torch.cuda.Event] | None = None


class BufferPool:
    """The buffers of one device. largest: bytes that the greatest group needs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.largest = 0
        self._free: list[Buffer] = []
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, in use or not."""
        return self._taken + sum(len(buffer.memory) for buffer in self._free)

    def take(self, size: int) -> Buffer:
        """A buffer of at least `size` bytes, to be used on the current stream."""
        with self._lock:
            fitting = [place for place, buffer in enumerate(self._free) if len(buffer.memory) >= size]
            if fitting:
                buffer = self._free.pop(fitting[0])
            else:
                self._free.clear()  # they are too small; new ones are not
                with torch.inference_mode(False):
                    buffer = Buffer(torch.empty(max(size, self.largest), dtype=torch.uint8, device=self.device))
            self._taken += len(buffer.memory)
        if buffer.last is not None and buffer.last[0] != torch.cuda.current_stream(self.device):
            torch.cuda.current_stream(self.device).wait_event(buffer.last[1])
        return buffer

    def give_back(self, buffer: Buffer) -> None:
        """Takes a buffer back; what the current stream was told to do with it may still be going on."""
        if self.device.type == "cuda":
            stream = torch.cuda.current_stream(self.device)
            buffer.memory.record_stream(stream)
            buffer.last = (stream, stream.record_event())
        with self._lock:
            self._taken -= len(buffer.memory)
            self._free.append(buffer)


class Group:
    """Weights that are decoded together, and the parameters that show them while they are in use.

    slots: for each item, for each of its tensors, the parameters that are that tensor (several where weights are tied).
    Outside of use a parameter is empty, of shape [0], so that nothing can compute with it unseen.
    """

    def __init__(self, items: list[Item], slots: list[list[list[Slot]]]) -> None:
        self.items, self.slots = items, slots
        self._users = 0
        self._in_use: tuple[BufferPool, Buffer] | None = None
        self._is_whole = True
        self._home: torch.device | None = None
        self._lock = threading.Lock()
        self._places = [0]
        for item in items:
            size = sum(item.counts) * item.dtype.itemsize
            self._places.append(-(-(self._places[-1] + size) // ALIGN) * ALIGN)

    @property
    def nbytes(self) -> int:
        """Bytes that its weights take, decoded."""
        return self._places[-1]

    def parameters(self) -> list[list[list[nn.Parameter]]]:
        """What `slots` name now: `model.to(device)` may have put other objects there."""

        def find(slot: Slot) -> nn.Parameter:
            found = slot[0]._parameters[slot[1]]
            assert found is not None
            return found

        return [[[find(slot) for slot in slots] for slots in of_item] for of_item in self.slots]

    @property
    def device(self) -> torch.device:
        """Where the parameters are, so where they are decoded."""
        return self.parameters()[0][0][0].device

    def held(self) -> int:
        """Bytes that it holds, compressed."""
        return sum(item.nbytes for item in self.items)

    def settle(self, *, offload: bool, threads: int) -> None:
        """Brings the compressed bytes to where the parameters are, if these have moved."""
        device = self.device
        if device != self._home:
            self.items = [move(item, device, offload=offload, threads=threads) for item in self.items]
            self._home = device

    def views(self, memory: Tensor) -> list[list[Tensor]]:
        """For each item its tensors, in `memory`, uint8 of at least `nbytes`."""
        found = []
        for item, place in zip(self.items, self._places, strict=False):
            flat = memory[place : place + sum(item.counts) * item.dtype.itemsize].view(item.dtype)
            ends = accumulate(item.counts)
            parts = zip(ends, item.counts, item.shapes, strict=True)
            found.append([flat[end - count : end].view(shape) for end, count, shape in parts])
        return found

    def decode(self, memory: Tensor, threads: int, parts: Parts = None) -> None:
        """Writes all weights to `memory`, or at least `parts` of those of the only item."""
        for item, place in zip(self.items, self._places, strict=False):
            flat = memory[place : place + sum(item.counts) * item.dtype.itemsize].view(item.dtype)
            item.decode(flat, threads, parts)

    def acquire(
        self, pool_of: Callable[["Group"], BufferPool], *, offload: bool, threads: int, parts: Parts = None
    ) -> None:
        """Shows the weights in the parameters, decoded if nothing else uses them at the moment.

        parts: those that this user needs, of a group of one item; the others then hold anything.
        """
        with self._lock, torch.no_grad():
            if self._users == 0:
                self.settle(offload=offload, threads=threads)
                pool = pool_of(self)
                buffer = pool.take(self.nbytes)
                try:
                    self.decode(buffer.memory, threads, parts)
                    self.show(self.views(buffer.memory))
                except BaseException:
                    pool.give_back(buffer)
                    raise
                self._in_use, self._is_whole = (pool, buffer), parts is None
            elif self._in_use is not None and not self._is_whole:
                self.decode(self._in_use[1].memory, threads, parts)
                self._is_whole = parts is None
            self._users += 1

    def release(self) -> None:
        """Empties the parameters when the last user is done."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._in_use is not None:
                pool, buffer = self._in_use
                self._in_use = None
                self.show([[torch.empty(0, dtype=item.dtype, device=pool.device)] * len(item.names)
                           for item in self.items])  # fmt: skip
                pool.give_back(buffer)

    def show(self, tensors: list[list[Tensor]]) -> None:
        """Makes `tensors`, for each item those of its names, the data of the parameters.

        Raises ValueError where the model has been converted to another dtype.
        """
        for of_item, found in zip(tensors, self.parameters(), strict=True):
            for tensor, parameters in zip(of_item, found, strict=True):
                for parameter in parameters:
                    if parameter.dtype != tensor.dtype:
                        raise ValueError(
                            f"attached weights are {tensor.dtype}, but the model is {parameter.dtype} now: it cannot "
                            "be converted while weights are attached"
                        )
                    parameter.data = tensor
