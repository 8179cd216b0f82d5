# SPDX-License-Identifier: Apache-2.0
"""The end of a step of any training of heads, and what it adds to the curve."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Meter(nn.Module):
    """Sums since somebody asked; those of the loss stand in checkpoints, so that its curve goes on too."""

    loss: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("loss", torch.zeros((), dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.float64))
        self.samples, self.began = 0, time.monotonic()

    def told(self) -> dict[str, float]:
        """Mean loss and samples a second; begins anew."""
        if not self.steps:
            return {}
        values = {"loss": float(self.loss / self.steps)}
        values["samples_per_second"] = self.samples / max(1e-9, time.monotonic() - self.began)
        self.loss.zero_()
        self.steps.zero_()
        self.samples, self.began = 0, time.monotonic()
        return values


def take_step(trainer: Any, module: nn.Module, loss: float, advice: str) -> Callable[[], str]:
    """Clips the gradients of a module and lets the optimizer, the average and the meter of its trainer go on.

    loss: of the whole step; advice: settings to try. Raises ValueError for a loss, or gradients, that are no numbers.
    """
    state = trainer.state
    norm = nn.utils.clip_grad_norm_(module.parameters(), trainer.recipe.clip)
    if not (math.isfinite(loss) and bool(norm.isfinite())):
        raise ValueError(
            f"step {state.step}: the loss is {loss}, the norm of its gradients {float(norm)}: nothing was changed "
            f"by it, the checkpoint before stays; {advice}"
        )
    trainer.optimizer.step()
    state.step += 1
    trainer.average.update(state.step)
    trainer.meter.loss += loss
    trainer.meter.steps += 1
    return lambda: f"loss {loss:.3f}"
