# SPDX-License-Identifier: Apache-2.0
"""What a split model is before it is trained: random weights, at scales that fit noise of a photograph's spectrum."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.codecs.base import Latent
from isthmus.codecs.bottlefit.weights import BottlefitWeights
from isthmus.entropy.distributions import log_spaced, scale_index
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.entropy.tables.family import TableFamily
from isthmus.models.bottleneck import Bottleneck, BottleneckConfig
from isthmus.models.heads import LatentInput
from isthmus.models.split import usual_gains

TABLES, REACH = 64, 255
QUALITIES = (20, 50, 80)
SEEN = 20  # times that normalisation sees the noise


def noise(size: int, count: int = 4) -> Tensor:
    """Pictures uint8 [count, 3, size, size], whose amplitudes fall with frequency; always the same."""
    random = torch.Generator().manual_seed(0)
    rows, columns = torch.fft.fftfreq(size), torch.fft.rfftfreq(size)
    fall = 1 / torch.hypot(rows[:, None], columns).clamp_min(1 / size)
    waves = torch.fft.rfft2(torch.randn(count, 3, size, size, generator=random))
    made = torch.fft.irfft2(waves * fall, s=(size, size))
    made = made / made.std((2, 3), keepdim=True).clamp_min(1e-6)
    return (127.5 + 50 * made).round().clamp(0, 255).to(torch.uint8)


def input_of(codec: Any, size: int) -> LatentInput:
    """What a head reads of a codec of images: means and deviations over some qualities."""
    pictures, parts = noise(size), []
    for quality in QUALITIES:
        found = codec.analyze(pictures, quality=quality)
        parts.append(Latent({"y": found.planes["y"]}, found.latents[0].spec, codec).dequantize()["y"])
    y = torch.cat(parts).transpose(0, 1).flatten(1)
    return LatentInput(len(y), 2, tuple(y.mean(1).tolist()), tuple(y.std(1).clamp_min(1e-6).tolist()), codec.cell)


def weights_at_first(config: BottleneckConfig, size: int, seed: int = 0) -> BottlefitWeights:
    """A codec of random features, with tables of Laplace distributions."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        trained = Bottleneck(config)
        pictures = noise(size).float()
        for _ in range(SEEN):
            trained(pictures)
        trained.log_gain.copy_(usual_gains(config))
        head = trained.folded(pictures).requires_grad_(False)
    scales = log_spaced(TABLES, 0.15, 64.0)
    value = np.arange(-REACH, REACH + 1)
    rows = [np.exp(-np.abs(value) / scale) for scale in scales / np.sqrt(2)]
    near = [0.7 ** np.abs(np.arange(-reach, reach + 1)) + 1e-4 for reach in (TABLES, REACH)]
    low = [-REACH] * TABLES + [-TABLES, -REACH]
    expected = scale_index(head.gain.numpy(), scales).astype(np.uint8)
    return BottlefitWeights(head, FactorizedModel(TableFamily.from_counts([*rows, *near], low), expected))
