# SPDX-License-Identifier: Apache-2.0
"""Sounds for a model: waves and spectrograms, in several layouts."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedConfig

from .parts import find

SAMPLES, FRAMES = 3200, 64


class Sounds:
    """layout: 0 as [1, bins, frames] and [1, samples], 1 as [1, frames, bins] and [1, 1, samples], 2 with other bins,
    3 as [1, 1, frames, bins].
    """

    def __init__(self, config: PreTrainedConfig, layout: int, noise: Callable[..., torch.Tensor]) -> None:
        self.config, self.layout, self.noise = config, layout, noise

    def has(self, name: str) -> bool:
        return hasattr(self, f"make_{name}")

    def value(self, name: str) -> Any:
        return getattr(self, f"make_{name}")()

    def find(self, *names: str, default: Any) -> Any:
        return find(self.config, names, default, "audio")

    def make_input_features(self) -> torch.Tensor:
        names = "num_mel_bins", "n_mels", "input_feat_per_channel", "feature_size", "input_dim", "input_feat_size"
        if self.layout == 2:
            names = ("feature_projection_input_dim", "input_size", "hidden_size", "num_mel_bins")
        bins = self.find(*names, default=80)
        frames = self.frames
        if self.layout == 3:
            return self.noise(1, 1, frames, bins)
        return self.noise(1, bins, frames) if self.layout == 0 else self.noise(1, frames, bins)

    @property
    def frames(self) -> int:
        positions = self.find("max_source_positions", default=None)
        return 2 * positions if isinstance(positions, int) and positions <= 512 else FRAMES

    make_audio_mel = make_input_features

    def make_audio_mel_mask(self) -> torch.Tensor:
        return torch.zeros(1, self.frames, dtype=torch.bool)

    def make_input_features_mask(self) -> torch.Tensor:
        return torch.ones(1, self.frames, dtype=torch.long)

    make_feature_attention_mask = make_input_features_mask

    def make_input_values(self) -> torch.Tensor:
        if self.layout == 2:
            return self.noise(1, self.find("max_length", default=FRAMES), self.find("num_mel_bins", default=80))
        return self.noise(1, SAMPLES) if self.layout in (0, 3) else self.noise(1, 1, SAMPLES)
