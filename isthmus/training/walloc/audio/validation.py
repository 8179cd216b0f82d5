# SPDX-License-Identifier: Apache-2.0
"""Validation of a codec of sound in training: rate by order-0 entropy, PSNR of the network and of its linear floor."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.models.walloc.audio import WallocAudio, quantize
from isthmus.training.walloc.validation import order0_bits

RATE = 44100


def whole_bands(model: WallocAudio, sound: Tensor) -> Tensor:
    """Bands [n, T] of a whole sound [2, samples], beyond its ends its mirror image."""
    bank, samples = model.config.bank, sound.shape[-1]
    first, last = bank.needs(0, bank.frames(samples))
    wide = F.pad(sound[None], (-first * bank.hop, last * bank.hop - samples), mode="reflect")[0]
    return bank.analyze(wide).flatten(0, 1)


@torch.no_grad()
def rate_distortion(
    model: WallocAudio, sounds: list[Tensor], levels: list[float]
) -> list[tuple[float, float, float, float]]:
    """(level, kbit/s, PSNR and that of the floor in dB for a range of 1), means over sounds [2, samples]."""
    points = []
    for value in levels:
        level = torch.tensor([value], device=sounds[0].device)
        rate = psnr = floor = 0.0
        for sound in sounds:
            q = quantize(model.analyze(whole_bands(model, sound)[None], level))
            linear = model.synthesize_linear(q, level)
            rate += order0_bits(q[0]) / sound.shape[1] * RATE / 1000 / len(sounds)
            psnr += _psnr(model, linear + model.residual(q, level), sound) / len(sounds)
            floor += _psnr(model, linear, sound) / len(sounds)
        points.append((value, rate, psnr, floor))
    return points


def _psnr(model: WallocAudio, bands: Tensor, sound: Tensor) -> float:
    decoded = model.config.bank.synthesize(bands[0].reshape(len(sound), -1, bands.shape[-1]))[:, : sound.shape[1]]
    return -10 * math.log10(max(float((decoded - sound).square().mean()), 1e-12))
