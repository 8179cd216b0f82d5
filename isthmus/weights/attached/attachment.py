# SPDX-License-Identifier: Apache-2.0
"""Models that run from compressed weights: each block's are decoded just before it runs, into memory used again."""

import threading
import time
import weakref
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from isthmus.weights.attached.decoding.buffers import BufferPool
from isthmus.weights.attached.decoding.group import Group, Settings
from isthmus.weights.attached.grouping import Groups, compressed_parameters, group_parameters
from isthmus.weights.attached.hooks import After, Before, hook_loading
from isthmus.weights.attached.tensors import special  # noqa: F401  # what operations need not decode all of


@dataclass(frozen=True)
class AttachReport:
    """What a model takes and how fast it decodes.

    tensors: number of compressed tensors. plain_bytes: what they would take as they are; held_bytes: what they take,
    index and tables included (on the CPU, of the file that is mapped); buffer_bytes: of the memory that they are
    decoded into, so far. other_bytes: of parameters and buffers that are not compressed (or too small to be worth it).
    seconds: to decode every tensor once. unused: names of tensors of the source that the model has no place for;
    missing: of tensors of the model that the source has not, and that stayed as they were.
    """

    tensors: int
    plain_bytes: int
    held_bytes: int
    buffer_bytes: int
    other_bytes: int
    seconds: float
    unused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def gigabytes_per_second(self) -> float:
        """Of decoded weights."""
        return self.plain_bytes / self.seconds / 1e9 if self.seconds else 0.0


@dataclass
class _Frame:
    """A block that runs: what it has acquired, and what it keeps to its end if something in it needs that."""

    block: nn.Module
    acquired: list[Group] = field(default_factory=list)
    later: list[Group] = field(default_factory=list)


class Attachment:
    """A model's compressed weights; made by `attach` and `from_pretrained`. It lasts until `detach`.

    unused, missing: as in `AttachReport`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        blocks: Collection[str] | None = None,
        offload: bool = False,
        fused: bool = False,
        threads: int = 1,
        unused: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
    ) -> None:
        """Takes the compressed parameters that the model has. Raises ValueError for a block that is not there."""
        self._model, self.unused, self.missing = weakref.ref(model), unused, missing
        self._pools: dict[torch.device, BufferPool] = {}
        self._running = threading.local()
        settings = Settings(self._pool_of, threads, offload, self._keep)
        groups = group_parameters(model, blocks, settings, fused=fused)
        self._groups = groups.all
        self.hooks: list[Any] = []
        for group in self._groups:
            group.settle()
            self._pool_of(group)
        for block in dict.fromkeys([model, *groups.before, *groups.later]):
            self._hook(block, groups)
        self.hooks += hook_loading(model)
        _ATTACHMENTS[model] = self

    @property
    def model(self) -> nn.Module:
        """The model, which this does not keep alive. Raises RuntimeError once it is gone."""
        model = self._model()
        if model is None:
            raise RuntimeError("isthmus.weights: the model of this attachment is gone")
        return model

    def _pool_of(self, group: Group) -> BufferPool:
        device = group.device
        pool = self._pools.get(device)
        if pool is None:
            # Sized for every group from the start: a CUDA graph keeps using the buffer that it was captured with.
            pool = self._pools.setdefault(device, BufferPool(device))
            there = [other for other in self._groups if other.device == device]
            for other in there:
                other.settle()
            pool.largest = max((other.nbytes for other in there), default=0)
        pool.largest = max(pool.largest, group.nbytes)
        return pool

    def _hook(self, block: nn.Module, groups: Groups) -> None:
        before = Before(self, block, groups.before.get(block, []), groups.later.get(block, []))
        self.hooks.append(block.register_forward_pre_hook(before, prepend=True, with_kwargs=True))
        self.hooks.append(block.register_forward_hook(After(self, block), always_call=True))

    def enter(self, block: nn.Module, groups: list[Group], later: list[Group]) -> None:
        """A block begins to run."""
        stack = self._stack()
        while stack and block is self.model:  # an interrupt left blocks that never ended
            self._leave(stack.pop())
        frame = _Frame(block, [], later)
        stack.append(frame)
        for group in groups:
            group.hold()
            frame.acquired.append(group)

    def leave(self, block: nn.Module) -> None:
        """A block ends, with a result or an error."""
        stack = self._stack()
        if stack and stack[-1].block is block:  # else another hook failed before ours
            self._leave(stack.pop())

    @staticmethod
    def _leave(frame: _Frame) -> None:
        for group in frame.acquired:
            group.let_go()

    def _keep(self, group: Group) -> None:
        """Something reads a group: a block that runs may want it to stay."""
        for frame in reversed(self._stack()):
            if group in frame.later:
                if group not in frame.acquired:
                    frame.acquired.append(group)
                    try:
                        group.hold()
                    except BaseException:
                        frame.acquired.remove(group)
                        raise
                return

    def _stack(self) -> list[_Frame]:
        """The blocks that run at the moment on this thread."""
        if not hasattr(self._running, "stack"):
            self._running.stack = []
        stack: list[_Frame] = self._running.stack
        return stack

    def report(self) -> AttachReport:
        """Decodes every tensor once to time that, and adds up what is held."""
        seconds = 0.0
        for group in self._groups:
            _wait(group.device)
            begin = time.perf_counter()
            group.acquire()
            _wait(group.device)
            seconds += time.perf_counter() - begin
            group.release()
        compressed = compressed_parameters(self.model)
        others = [*self.model.parameters(), *self.model.buffers()]
        return AttachReport(
            sum(len(group.params) for group in self._groups),
            sum(param.nbytes for group in self._groups for param in group.params),
            sum(group.held() for group in self._groups),
            sum(pool.nbytes for pool in self._pools.values()),
            sum(tensor.nbytes for tensor in others if tensor not in compressed),
            seconds,
            self.unused,
            self.missing,
        )

    def detach(self) -> None:
        """Makes the model an ordinary one again: its weights decoded to stay, no hooks of ours.

        Gradients, hooks and attributes of parameters stay; gradients of a forward pass before go to the old ones.
        """
        for param, names in compressed_parameters(self.model).items():
            plain = param.ordinary()
            for name in names:
                owner, _, last = name.rpartition(".")
                setattr(self.model.get_submodule(owner), last, plain)
        for hook in self.hooks:
            hook.remove()
        self._groups, self.hooks = [], []
        self._pools.clear()
        _ATTACHMENTS.pop(self.model, None)


def attachment_of(model: nn.Module) -> Attachment:
    """The attachment of a model that `attach` or `from_pretrained` made. Raises KeyError for another."""
    found = _ATTACHMENTS.get(model)
    if found is None:
        raise KeyError(f"{type(model).__name__}: no weights are attached to this model")
    return found


_ATTACHMENTS: "weakref.WeakKeyDictionary[nn.Module, Attachment]" = weakref.WeakKeyDictionary()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
