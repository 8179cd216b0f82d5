# SPDX-License-Identifier: Apache-2.0
"""Values of parameters that are neither text, image nor sound, by name: boxes, series, states."""

from collections.abc import Callable
from typing import Any

import torch

from .parts import find


def _boxes(guess: Any) -> torch.Tensor:
    corners = torch.randint(0, 100, (1, 12, 4), generator=guess.generator)
    return torch.cat([corners[..., :2], corners[..., :2] + corners[..., 2:] + 1], -1)


def _series(guess: Any) -> torch.Tensor:
    config = guess.config
    length = find(config, ("context_length",), 32, "")
    if hasattr(config, "lags_sequence"):
        return guess.noise(1, length + max(config.lags_sequence))
    channels = find(config, ("num_input_channels",), 0, "")
    return guess.noise(1, length, channels) if channels else guess.noise(1, length)


def _past(*shape: int) -> Callable[[Any], torch.Tensor]:
    return lambda guess: torch.ones(1, guess.config.context_length + max(guess.config.lags_sequence), *shape)


TABLES: dict[str, Callable[[Any], Any]] = {
    "bbox": _boxes,
    "past_values": _series,
    "past_observed_mask": lambda guess: torch.ones_like(_series(guess)),
}
