# SPDX-License-Identifier: Apache-2.0
"""A moving average of weights, which generalises better than the last ones (Polyak and Juditsky, 1992)."""

import torch
from torch import Tensor, nn


class MovingAverage:
    """`tensors`: the averages of a module's state, by name, of the same storage for ever; counts stay as they are."""

    def __init__(self, modules: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {k: v.detach().clone() for k, v in modules.state_dict().items()}
        current = modules.state_dict()  # same storage as the module's own tensors
        floats = [name for name, value in current.items() if value.is_floating_point()]
        self._current, self._averages = [current[n] for n in floats], [self.tensors[n] for n in floats]

    def update(self, step: int) -> None:
        """After optimizer step number `step`, counted from 1; early averages forget faster."""
        decay = min(self.decay, step / (step + 10))
        torch._foreach_lerp_(self._averages, self._current, 1 - decay)
