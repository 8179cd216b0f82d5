# SPDX-License-Identifier: Apache-2.0
"""The processes of a training: one, or as many as torchrun has begun."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """rank: which of `size` processes this is; device: what it computes on; accelerator: whose processes they are."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    accelerator: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def spread(self, model: nn.Module) -> nn.Module:
        """The model, with gradients that are those of all processes."""
        if self.accelerator is not None:
            return self.accelerator.prepare_model(model)  # type: ignore[no-any-return]
        if self.size == 1:
            return model
        return DistributedDataParallel(model, [self.device] if self.device.type == "cuda" else None)

    def seed(self, *numbers: int) -> None:
        """Begins torch's generators anew, by numbers and this process."""
        torch.manual_seed(int(np.random.SeedSequence([*numbers, self.rank]).generate_state(1)[0]))

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss."""
        if self.accelerator is not None:
            self.accelerator.backward(loss)
        else:
            torch.autograd.backward(loss)

    def any(self, value: bool) -> bool:
        """Whether it is true of any process."""
        return value if self.size == 1 else bool(self.sum(torch.tensor([float(value)], device=self.device)))

    def average_gradients(self, model: nn.Module) -> None:
        """Of a model that `spread` has not wrapped: over all processes, which must have the same parameters in use."""
        for parameter in model.parameters() if self.size > 1 else ():
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= self.size

    def same(self, tensors: Iterable[torch.Tensor]) -> None:
        """Makes them those of the process that leads."""
        for tensor in tensors if self.size > 1 else ():
            distributed.broadcast(tensor, 0)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Over all processes; changes `value`."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value


def is_first() -> bool:
    """Whether this process is the one that speaks, of those that torchrun has begun; known before they are joined."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def world_of(device: str, accelerator: Any = None) -> Iterator[World]:
    """What an accelerator says, or torchrun by RANK, WORLD_SIZE and LOCAL_RANK; else this process alone.

    Raises ValueError for an accelerator that scales losses, or shards the weights that checkpoints hold.
    """
    if accelerator is not None:
        if accelerator.mixed_precision not in ("no", "bf16"):
            raise ValueError(f"accelerator: mixed_precision {accelerator.mixed_precision!r}, expected 'no' or 'bf16'")
        kind = str(accelerator.distributed_type).rpartition(".")[2]
        if kind not in ("NO", "MULTI_CPU", "MULTI_GPU"):
            raise ValueError(f"accelerator: processes of type {kind}, expected MULTI_GPU: each holds all weights")
        yield World(accelerator.process_index, accelerator.num_processes, accelerator.device, accelerator)
        return
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=torch.device(device))
        return
    local, is_cuda = int(os.environ.get("LOCAL_RANK", "0")), device.startswith("cuda")
    place = torch.device("cuda", local) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(place)
    # Its functions have the group as a default, which they keep if they are imported once there is one (torch._dynamo
    # does); a group that is kept has threads that run on while Python ends, which aborts the process at times.
    import_module("torch.distributed.nn.functional")

    distributed.init_process_group("nccl" if is_cuda else "gloo")
    try:
        yield World(distributed.get_rank(), size, place)
    finally:
        distributed.destroy_process_group()
