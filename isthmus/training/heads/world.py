# SPDX-License-Identifier: Apache-2.0
"""The processes of a training: one, or as many as torchrun has begun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """rank: which of `size` processes this is; device: what it computes on."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def spread(self, model: nn.Module) -> nn.Module:
        """The model, with gradients that are those of all processes."""
        if self.size == 1:
            return model
        return DistributedDataParallel(model, [self.device] if self.device.type == "cuda" else None)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Over all processes; changes `value`."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value


def is_first() -> bool:
    """Whether this process is the one that speaks, of those that torchrun has begun; known before they are joined."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def world_of(device: str) -> Iterator[World]:
    """What torchrun says by RANK, WORLD_SIZE and LOCAL_RANK; else this process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=torch.device(device))
        return
    local, is_cuda = int(os.environ.get("LOCAL_RANK", "0")), device.startswith("cuda")
    place = torch.device("cuda", local) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if is_cuda else "gloo")
    try:
        yield World(distributed.get_rank(), size, place)
    finally:
        distributed.destroy_process_group()
