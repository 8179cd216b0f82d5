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


def _noise(*shape: int | str) -> Callable[[Any], torch.Tensor]:
    """Noise of a shape whose sizes may be names of the config's."""
    return lambda guess: guess.noise(*(getattr(guess.config, one) if isinstance(one, str) else one for one in shape))


def _tokens(*shape: int) -> Callable[[Any], torch.Tensor]:
    return lambda guess: guess.tokens(*shape)


def _ones(*shape: int) -> Callable[[Any], torch.Tensor]:
    return lambda guess: torch.ones(shape, dtype=torch.long)


def _time_features(guess: Any) -> torch.Tensor:
    return guess.noise(1, _series(guess).shape[1], guess.config.num_time_features)


TABLES: dict[str, Callable[[Any], Any]] = {
    "bbox": _boxes,
    "past_values": _series,
    "past_observed_mask": lambda guess: torch.ones_like(_series(guess)),
    "past_time_features": _time_features,
    "states": _noise(1, 8, "state_dim"),
    "actions": _noise(1, 8, "act_dim"),
    "rewards": _noise(1, 8, 1),
    "returns_to_go": _noise(1, 8, 1),
    "timesteps": lambda guess: torch.arange(8).unsqueeze(0),
    "visual_feats": _noise(1, 4, "visual_feat_dim"),
    "visual_pos": _noise(1, 4, "visual_pos_dim"),
    "visual_embeds": _noise(1, 4, "visual_embedding_dim"),
    "inputs": _tokens(1, 12),
    "task_inputs": _tokens(1, 77),
    "image_attention_mask": _ones(1, 12, 1),
    "image_embeds_position_mask": lambda guess: (torch.arange(12) < guess.config.latent_query_num).unsqueeze(0),
}
