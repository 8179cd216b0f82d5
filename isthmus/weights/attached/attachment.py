# SPDX-License-Identifier: Apache-2.0
"""Models that run from compressed weights: each block's are decoded just before it runs, into memory used again."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isthmus.weights.attached.blocks import refuse_gradients
from isthmus.weights.attached.buffers import BufferPool
from isthmus.weights.attached.group import Group
from isthmus.weights.attached.grouping import Groups, group_items
from isthmus.weights.attached.load import Devices, load
from isthmus.weights.attached.outputs import copied_out
from isthmus.weights.attached.source import open_source


@dataclass(frozen=True)
class AttachReport:
    """What a model takes and how fast it decodes.

    tensors: number of compressed tensors. plain_bytes: what they would take as they are; held_bytes: what they take,
    index and tables included (on the CPU, of the file that is mapped); buffer_bytes: of the memory that they are
    decoded into, so far. other_bytes: of parameters and buffers that are not compressed (or too small to be worth it).
    seconds: to decode every tensor once.
    """

    tensors: int
    plain_bytes: int
    held_bytes: int
    buffer_bytes: int
    other_bytes: int
    seconds: float

    @property
    def gigabytes_per_second(self) -> float:
        """Of decoded weights."""
        return self.plain_bytes / self.seconds / 1e9 if self.seconds else 0.0


class Attachment:
    """A model's compressed weights; made by `attach`. It lasts until `detach`.

    groups: what is decoded when. unused: names of tensors of the source that the model has no place for.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Groups,
        *,
        offload: bool = False,
        threads: int = 1,
        unused: tuple[str, ...] = (),
    ) -> None:
        self.model, self.unused = model, unused
        of_blocks = [group for found in groups.before.values() for group in found]
        self._groups = list(dict.fromkeys([*of_blocks, *(group for _, _, group, _ in groups.compressed)]))
        self._offload, self._threads = offload, threads
        self._pools: dict[torch.device, BufferPool] = {}
        self._running = threading.local()
        refuse: Any = model.register_state_dict_pre_hook
        self.hooks: list[Any] = [refuse(_refuse_state_dict)]
        for group in self._groups:
            self._settle(group)
            self._pool_of(group)
        for block, found in {model: [], **groups.before}.items():
            self._hook(block, found)
        for module, kind, group, block in groups.compressed:
            make: Any = kind
            self.hooks.append(make(module, group, self._settle, partial(self._decoded, group, block)))

    def _settle(self, group: Group) -> None:
        group.settle(offload=self._offload, threads=self._threads)

    def _pool_of(self, group: Group) -> BufferPool:
        device = group.device
        pool = self._pools.get(device)
        if pool is None:
            # Sized for every group from the start: a CUDA graph keeps using the buffer that it was captured with.
            pool = self._pools.setdefault(device, BufferPool(device))
            there = [other for other in self._groups if other.device == device]
            for other in there:
                self._settle(other)
            pool.largest = max((other.nbytes for other in there), default=0)
        pool.largest = max(pool.largest, group.nbytes)
        return pool

    def _acquire(self, group: Group, parts: Sequence[slice] | None = None) -> None:
        group.acquire(self._pool_of, offload=self._offload, threads=self._threads, parts=parts)

    def _hook(self, block: nn.Module, groups: list[Group]) -> None:
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            stack = self._stack()
            while stack and module is self.model:  # an interrupt left blocks that never ended
                for group in stack.pop()[1]:
                    group.release()
            acquired: list[Group] = []
            stack.append((module, acquired))
            refuse_gradients(module, args, kwargs)
            for group in groups:
                self._acquire(group)
                acquired.append(group)

        def after(module: nn.Module, args: Any, result: Any) -> Any:
            stack = self._stack()
            if not stack or stack[-1][0] is not module:
                return result  # another hook failed before ours
            acquired = stack.pop()[1]
            try:
                return copied_out(result, [memory for group in acquired for memory in group.memory()])
            finally:
                for group in acquired:
                    group.release()

        self.hooks.append(block.register_forward_pre_hook(before, prepend=True, with_kwargs=True))
        self.hooks.append(block.register_forward_hook(after, always_call=True))

    @contextmanager
    def _decoded(self, group: Group, block: nn.Module, parts: Sequence[slice] | None) -> Iterator[None]:
        """Where a group's weights are there: to the end of `block`, or only here where that does not run."""
        running = [acquired for module, acquired in self._stack() if module is block]
        if not running or parts is not None:  # parts are for this call alone: others of the block need the whole
            self._acquire(group, parts)
            try:
                yield
            finally:
                group.release()
            return
        if group not in running[-1]:
            self._acquire(group)
            running[-1].append(group)
        yield

    def _stack(self) -> list[tuple[nn.Module, list[Group]]]:
        """The blocks that run at the moment on this thread, and what each has acquired."""
        if not hasattr(self._running, "stack"):
            self._running.stack = []
        stack: list[tuple[nn.Module, list[Group]]] = self._running.stack
        return stack

    def report(self) -> AttachReport:
        """Decodes every tensor once to time that, and adds up what is held."""
        seconds = 0.0
        for group in self._groups:
            _wait(group.device)
            begin = time.perf_counter()
            self._acquire(group)
            _wait(group.device)
            seconds += time.perf_counter() - begin
            group.release()
        others = [*self.model.parameters(), *self.model.buffers()]
        return AttachReport(
            sum(len(item.names) for group in self._groups for item in group.items),
            sum(sum(item.counts) * item.dtype.itemsize for group in self._groups for item in group.items),
            sum(group.held() for group in self._groups),
            sum(pool.nbytes for pool in self._pools.values()),
            sum(tensor.nbytes for tensor in others),
            seconds,
        )

    def detach(self) -> None:
        """Makes the model an ordinary one again: its weights decoded to stay, no hooks."""
        for group in self._groups:
            self._settle(group)
            memory = torch.empty(group.nbytes, dtype=torch.uint8, device=group.device)
            group.decode(memory, self._threads)
            group.show([view.clone() for view in group.views(memory).tensors])
        for hook in self.hooks:
            hook.remove()
        self._groups, self.hooks = [], []
        self._pools.clear()


def attach(
    model: nn.Module,
    path: str | Path,
    *,
    device: str | torch.device | Mapping[str, str | int | torch.device] | None = None,
    offload: bool = False,
    fused: bool = False,
    blocks: Collection[str] | None = None,
    strict: bool = True,
    threads: int | None = None,
    base: str | Path | None = None,
    patterns: Mapping[str, list[str]] | None = None,
) -> Attachment:
    """Gives a model all its weights from `path`; compressed ones stay so, and are decoded block by block as it runs.

    The model's outputs are those of the same weights uncompressed, bit for bit. It may be on the meta device, so that
    uncompressed weights are never in memory. For inference: parameters no longer take gradients. `model.to(device)`
    works afterwards; changing dtypes, saving and training do not, before `detach`. It can be captured in a CUDA graph
    after it has run once; the graph must not run at the same time as the model itself.

    path: a file or folder that `isthmus.weights.compress` made (plain safetensors files may lie beside), or a published
    DFloat11 folder. device: where weights go, a device or for names of modules a device each (the longest name that
    fits counts; inputs are moved between them); None leaves parameters where they are, and takes the CPU for meta.
    offload: keep the compressed bytes in the CPU's memory and copy them each time. fused: on a GPU, nn.Linear modules
    multiply up to 4 vectors with bf16 weights as they decode them, where rows are a multiple of 256 weights; that takes
    half the time, but sums are in another order than torch's, so outputs are not the same bits. A weight that is read
    without calling its module is then empty. blocks: names of modules that decode all their weights together; by
    default the layers of a transformer. strict: False lets parameters that the source does not have stay as they are.
    threads: for decoding on the CPU; torch's number when None. base: the checkpoint that a delta needs. patterns:
    pattern_dict of a single DFloat11 file.

    Raises UnreadableFileError, CorruptStreamError and WeightsMismatchError for the files; ValueError for a tensor of
    another shape or dtype than the model's, one that is missing, or a block or module that is not there.
    """
    threads = torch.get_num_threads() if threads is None else threads
    devices = Devices(device)
    loaded = load(model, open_source(path, base=base, patterns=patterns), devices, strict=strict)
    groups = group_items(model, loaded, blocks, fused=fused)
    attachment = Attachment(model, groups, offload=offload, threads=threads, unused=loaded.unused)
    attachment.hooks += devices.hook(model)
    return attachment


def _refuse_state_dict(module: nn.Module, *_: Any) -> None:
    raise RuntimeError("isthmus.weights: attached weights cannot be saved from the model; call detach() first")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
