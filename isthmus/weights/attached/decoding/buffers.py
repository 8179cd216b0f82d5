# SPDX-License-Identifier: Apache-2.0
"""Memory that weights are decoded into, used again and again; never by two groups of weights at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.forks import ForkLock
from isthmus.weights.attached.decoding.marks import Marks


@dataclass(frozen=True)
class Buffer:
    """memory: uint8. written: the ends of decoding to it; used: the ends of uses."""

    memory: Tensor
    written: Marks
    used: Marks


class BufferPool:
    """The buffers of one device. largest: bytes that the greatest group needs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.largest = 0
        self._free: list[Buffer] = []
        self._empty: dict[torch.dtype, Tensor] = {}
        self._taken = 0
        self._lock = ForkLock()

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
                    memory = torch.empty(max(size, self.largest), dtype=torch.uint8, device=self.device)
                buffer = Buffer(memory, Marks(self.device), Marks(self.device))
            self._taken += len(buffer.memory)
        buffer.used.wait()
        return buffer

    def empty(self, dtype: torch.dtype) -> Tensor:
        """Nothing, which all parameters that are out of use share."""
        if dtype not in self._empty:
            with torch.inference_mode(False):
                self._empty[dtype] = torch.empty(0, dtype=dtype, device=self.device)
        return self._empty[dtype]

    def give_back(self, buffer: Buffer) -> None:
        """Takes a buffer back; what streams were told to do with it may still be going on."""
        with self._lock:
            self._taken -= len(buffer.memory)
            self._free.append(buffer)
