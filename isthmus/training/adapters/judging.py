# SPDX-License-Identifier: Apache-2.0
"""Kept-out photographs, as pixels and as latents of some qualities, and what networks make of them."""

import sys
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.datasets.latents.analysed import AnalysedSource
from isthmus.errors import IsthmusError
from isthmus.training.adapters.latents import analyzed
from isthmus.training.adapters.photographs import middle
from isthmus.training.heads.evaluation import Evaluated, evaluated

QUALITIES = (1, 20, 50, 100)
AT_ONCE = 64


class KeptOut:
    """labels: as the networks count classes, int64 [n]. Photographs without one are left out."""

    def __init__(self, source: AnalysedSource, labels: NDArray[np.int64], device: torch.device) -> None:
        self.device, self.codec = device, source.codec
        images, places = [], []
        for place in np.flatnonzero(labels >= 0).tolist():
            try:
                images.append(middle(source, place).transpose(2, 0, 1))
            except (IsthmusError, ValueError) as error:
                print(f"isthmus: {error}; left out of the validation", file=sys.stderr, flush=True)
            else:
                places.append(place)
        if not places:
            raise ValueError("validation: no photograph that can be read has a label")
        self.labels = labels[places]
        self.pixels = torch.from_numpy(np.stack(images))  # uint8 [n, 3, size, size]
        self._latents: dict[int, Tensor] = {}

    def reading(self, codec: Any) -> "KeptOut":
        """The same, as latents of another codec."""
        other = copy(self)
        other.codec, other._latents = codec, {}
        return other

    def on_pixels(self, network: nn.Module, pixels: Tensor | None = None) -> Evaluated:
        """What a network says of them; pixels: others of them, uint8 [n, 3, size, size], decoded perhaps."""
        return self._judge(network, self.pixels if pixels is None else pixels, lambda x: x.to(self.device).float())

    def on_latents(self, network: nn.Module, quality: int) -> Evaluated:
        """What a network says of their latents."""
        if quality not in self._latents:
            parts = [
                analyzed(self.codec, x.to(self.codec.device), quality).cpu() for x in torch.split(self.pixels, AT_ONCE)
            ]
            self._latents[quality] = torch.cat(parts)
        return self._judge(network, self._latents[quality], lambda y: y.to(self.device))

    def previews(self, quality: int) -> Tensor:
        """Their latents decoded by the linear half of the codec: uint8 [n, 3, size, size]."""
        made = []
        for x in self.pixels:
            latent: Any = self.codec.analyze(x, quality=quality)
            linear = {"synthesis": "linear"} if self.codec.DecodeOptions.has("synthesis") else {}
            made.append(self.codec.synthesize(latent, **linear))
        return torch.stack(made)

    @torch.no_grad()
    def _judge(self, network: nn.Module, inputs: Tensor, moved: Callable[[Tensor], Tensor]) -> Evaluated:
        network.eval()
        logits: Iterable[Tensor] = (network(moved(part)).float().cpu() for part in torch.split(inputs, AT_ONCE))
        return evaluated(torch.cat(list(logits)), self.labels)
