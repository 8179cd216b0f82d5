# SPDX-License-Identifier: Apache-2.0
"""Weights that are decoded together, into memory that other weights use too when these are not in use."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor

from isthmus.forks import ForkLock
from isthmus.weights.attached.decoding.buffers import Buffer, BufferPool
from isthmus.weights.attached.decoding.items import Item, Pieces, do_jobs
from isthmus.weights.attached.decoding.layout import Layout, Views
from isthmus.weights.attached.decoding.move import settle
from isthmus.weights.attached.tensors.nodes import Node, Stored, leaves
from isthmus.weights.attached.tensors.tensor import CompressedTensor


@dataclass(frozen=True)
class Settings:
    """How groups of a model decode. threads: on the CPU. offload: compressed bytes stay in the CPU's memory."""

    pool_of: Callable[["Group"], BufferPool]
    threads: int = 1
    offload: bool = False
    on_acquire: Callable[["Group"], None] = field(default=lambda group: None)


class Group:
    """Weights that are decoded together.

    params: the parameters of the model; wanted: what each is, of stored tensors that no other group has. Their own
    nodes say where in this group they are. by_rows: parts of the only one may be decoded by themselves. fused: matrices
    may be multiplied without being decoded.
    """

    def __init__(self, params: list[CompressedTensor], settings: Settings) -> None:
        self.params, self._settings = params, settings
        self.wanted: list[Node] = [param.node for param in params]
        self.by_rows = self.fused = False
        self.kept: object = None  # what those who compute with compressed weights keep of them
        self.names: list[list[Stored]] = []
        stored = dict.fromkeys(leaf for node in self.wanted for leaf in leaves(node) if isinstance(leaf, Stored))
        self.items: list[Item] = list({id(leaf.item): leaf.item for leaf in stored}.values())
        for item in self.items:
            by_number = {leaf.number: leaf for leaf in stored if leaf.item is item}
            self.names.append([by_number.get(k) or Stored(item, k) for k in range(len(item.names))])
        self._users = 0
        self._holding: dict[int, int] = {}  # blocks of each thread that hold it
        self._shown: list[Tensor] = []  # the weights where they are in use
        self._in_use: tuple[BufferPool, Buffer] | None = None
        self._done: set[int] | None = None  # pieces that are decoded, in use; None for all
        self._home: torch.device | None = None
        self._layout = Layout(self.wanted, self.names, self.items)
        self._views: Views | None = None  # of the buffer that was used last
        self._lock, self._moving = ForkLock(), ForkLock()

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, decoded."""
        return self._layout.nbytes

    @property
    def device(self) -> torch.device:
        """Where the parameters are, so where they are decoded."""
        return self.params[0].device

    def held(self) -> int:
        """Bytes that it holds, compressed."""
        return sum(item.nbytes for item in self.items)

    def settle(self) -> None:
        """Brings the compressed bytes to where the parameters are, if these have moved."""
        if self.device == self._home:
            return
        with self._moving:
            device = self.device
            if device == self._home:
                return
            options = self._settings
            self.items, self.names = settle(
                self.items, self.names, device, offload=options.offload, threads=options.threads
            )
            self._layout, self._views = Layout(self.wanted, self.names, self.items), None
            self._home = device

    def views(self, memory: Tensor) -> Views:
        """Its weights in `memory`, uint8 of at least `nbytes`."""
        if self._views is None or self._views.memory is not memory:
            self._views = self._layout.views(memory)
        return self._views

    def decode(self, memory: Tensor, pieces: Pieces = None) -> None:
        """Writes all weights to `memory`, or some pieces of those of the only item."""
        views = self.views(memory)
        if pieces is not None or not views.jobs:
            jobs = [job for item, flat in zip(self.items, views.flat, strict=True) for job in item.jobs(flat, pieces)]
        else:
            jobs = views.jobs
        do_jobs(jobs, memory.device, self._settings.threads)
        for out, compute in views.made:
            out.copy_(compute())

    def acquire(self, parts: Sequence[slice] | None = None) -> None:
        """Has the weights decoded until `release`, by whoever wants them first.

        parts: those that this user needs, with `by_rows`; the others then hold anything. What is decoded already is not
        written again, since others may be reading it.
        """
        if parts is None:
            self._settings.on_acquire(self)
        with self._lock, torch.no_grad():
            if self._users == 0:
                self.settle()
                pool = self._settings.pool_of(self)
                buffer = pool.take(self.nbytes)
                try:
                    self._done = set()
                    self._fill(buffer, parts)
                except BaseException:
                    self._end_use(buffer)
                    pool.give_back(buffer)
                    raise
                self._in_use = pool, buffer
                self._shown = self.views(buffer.memory).tensors
            elif self._in_use is not None:
                self._fill(self._in_use[1], parts)
                self._in_use[1].written.wait()
            self._users += 1

    def _fill(self, buffer: Buffer, parts: Sequence[slice] | None) -> None:
        """Decodes what is needed and not there yet."""
        if self._done is None:
            return
        if parts is None and not self._done:
            self.decode(buffer.memory)
            self._done = None
        else:
            item = self.items[0]
            needed = range(item.pieces) if parts is None else chain.from_iterable(map(item.pieces_of, parts))
            missing = set(needed) - self._done
            self.decode(buffer.memory, missing)
            self._done |= missing
        buffer.written.add()

    @staticmethod
    def _end_use(buffer: Buffer) -> None:
        if buffer.used.add() and buffer.memory.is_cuda:
            buffer.memory.record_stream(torch.cuda.current_stream(buffer.memory.device))

    def release(self) -> None:
        """Lets others have the memory when the last user is done."""
        with self._lock:
            self._users -= 1
            if self._in_use is None:
                return
            pool, buffer = self._in_use
            self._end_use(buffer)
            if self._users == 0:
                self._in_use = None
                pool.give_back(buffer)

    def tensor(self, number: int) -> Tensor:
        """A weight while the group is acquired."""
        assert self._in_use is not None
        return self.views(self._in_use[1].memory).tensors[number]

    def hold(self) -> None:
        """Acquires them for a block that runs on this thread, until `let_go`."""
        self.acquire()
        thread = threading.get_ident()
        self._holding[thread] = self._holding.get(thread, 0) + 1

    def let_go(self) -> None:
        thread = threading.get_ident()
        left = self._holding.pop(thread, 1) - 1
        if left:
            self._holding[thread] = left
        self.release()

    def shown(self, number: int) -> Tensor | None:
        """A weight if a block of this thread holds them."""
        return self._shown[number] if threading.get_ident() in self._holding else None

    def apart(self, number: int) -> Tensor:
        """A weight in memory of its own, on the group's device."""
        self.acquire()
        try:
            return self.tensor(number).clone()
        finally:
            self.release()
