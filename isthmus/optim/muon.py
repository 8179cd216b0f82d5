# SPDX-License-Identifier: Apache-2.0
"""Muon for the matrices inside a network and AdamW for everything else, as one optimizer.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024): momentum, made orthogonal by a
Newton-Schulz iteration; steps scaled to the size of Adam's as in Liu et al., arXiv 2502.16982, section 2.2.
"""

from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration
ROUNDS = 5
MOMENTUM = 0.95
ADAMS_SIZE = 0.2  # root mean square of a typical step of Adam


def orthogonalize(matrices: Tensor) -> Tensor:
    """Nearly the orthogonal factors of matrices [n, a, b]: singular values between 0.7 and 1.2."""
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """For matrices [out, in] and 1x1 convolutions [out, in, 1, 1], those of a group of one shape: updated together."""

    def __init__(self, groups: list[list[nn.Parameter]], lr: float) -> None:
        super().__init__([{"params": group} for group in groups], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of every group."""
        for group in self.param_groups:
            parameters = group["params"]
            gradients = [p.grad for p in parameters]
            for p in parameters:
                self.state[p].setdefault("momentum", torch.zeros_like(p))
            momenta = [self.state[p]["momentum"] for p in parameters]
            torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
            stacked = torch.stack(list(ahead))
            matrices = stacked.view(stacked.shape[:3])
            scale = ADAMS_SIZE * max(matrices.shape[-2:]) ** 0.5
            updates = (orthogonalize(matrices) * scale).view_as(stacked)
            torch._foreach_add_(parameters, list(updates.unbind()), alpha=-group["lr"])


def muon_and_adamw(
    network: nn.Module, matrices: list[list[nn.Parameter]], rates: tuple[float, float], groups: list[dict[str, Any]]
) -> "torch.optim.Optimizer | MuonAdamW":
    """Muon for `matrices` of a network at the first rate, AdamW for all else of it at the second and for `groups`.

    Each group keeps its rate as "top", which `set_rates` takes a factor of.
    """
    inside = {id(p) for group in matrices for p in group}
    others = [p for p in network.parameters() if id(p) not in inside]
    every = [{"params": others, "lr": rates[1], "weight_decay": 1e-4}, *groups]
    adam = torch.optim.AdamW(every, betas=(0.9, 0.98), fused=others[0].is_cuda)
    optimizer = MuonAdamW(Muon(matrices, rates[0]), adam) if inside else adam
    for group in optimizer.param_groups:
        group["top"] = group["lr"]
    return optimizer


def set_rates(optimizer: "torch.optim.Optimizer | MuonAdamW", factor: float) -> None:
    """Sets every learning rate to a factor of its top."""
    for group in optimizer.param_groups:
        group["lr"] = group["top"] * factor


class MuonAdamW:
    """Two optimizers behind the part of one's interface that trainings use; states are counted through both."""

    def __init__(self, muon: Muon, adam: torch.optim.AdamW) -> None:
        self.parts: tuple[torch.optim.Optimizer, ...] = (muon, adam)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def _firsts(self) -> list[int]:
        sizes = [sum(len(g["params"]) for g in part.param_groups) for part in self.parts]
        return [sum(sizes[:k]) for k in range(len(sizes))]

    def state_dict(self) -> dict[str, Any]:
        state: dict[int, Any] = {}
        for first, part in zip(self._firsts(), self.parts, strict=True):
            state |= {first + i: entry for i, entry in part.state_dict()["state"].items()}
        return {"state": state}

    def load_state_dict(self, found: dict[str, Any]) -> None:
        firsts = [*self._firsts(), 1 << 30]
        for part, first, end in zip(self.parts, firsts, firsts[1:], strict=False):
            state = {i - first: entry for i, entry in found["state"].items() if first <= i < end}
            part.load_state_dict(part.state_dict() | {"state": state})
