# SPDX-License-Identifier: Apache-2.0
"""A moving average of weights, which generalises better than the last ones (Polyak and Juditsky, 1992)."""

import torch
from torch import Tensor, nn


class MovingAverage:
    """`tensors`: the averages of a module's state, which must be of floats, by name; of the same storage for ever."""

    def __init__(self, modules: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {k: v.detach().clone() for k, v in modules.state_dict().items()}
        self._current = list(modules.state_dict().values())  # same storage as the module's own tensors

    def update(self, step: int) -> None:
        """After optimizer step number `step`, counted from 1; early averages forget faster."""
        decay = min(self.decay, step / (step + 10))
        torch._foreach_lerp_(list(self.tensors.values()), self._current, 1 - decay)
