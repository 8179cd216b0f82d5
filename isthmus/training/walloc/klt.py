# SPDX-License-Identifier: Apache-2.0
"""Start of every WaLLoC model: the Karhunen-Loeve transform of the packet bands, with uniform steps.

A trained model is never shipped below this floor.
"""

import math

import torch
from torch import Tensor

from isthmus.models.rate import LogisticMixture
from isthmus.models.walloc.image import Walloc


def band_statistics(bands: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [n] and covariance [n, n] of bands [B, n, h, w], in float64."""
    x = bands.transpose(0, 1).flatten(1).double()  # [n, B h w]
    mean = x.mean(1)
    x = x - mean[:, None]
    return mean, x @ x.T / x.shape[1]


def uniform_step(lam: float, channels: int = 3) -> float:
    """The step, in the bands' -1..1 scale, that suits the loss bits/pixel + lam * MSE (MSE on 0..255).

    High-rate theory: distortion D = step^2 / 12 and dD/dR = -2 ln(2) D per coefficient; MSE averages `channels`.
    """
    return math.sqrt(6 * channels / (math.log(2) * lam)) / 127.5


@torch.no_grad()
def initialize(model: Walloc, rate: LogisticMixture, bands: Tensor, lambdas: list[float]) -> None:
    """Sets `model` to the KLT fitted on `bands` [B, n, h, w] and `rate` to latents of that transform.

    Channels come in order of falling variance. `lambdas` has one value for each gain level.
    """
    mean, covariance = band_statistics(bands)
    values, vectors = torch.linalg.eigh(covariance)  # ascending
    c = model.config.latent_channels
    basis = vectors.flip(1)[:, :c]  # [n, c], orthonormal columns
    basis = basis * torch.sign(basis.sum(0)).where(basis.sum(0) != 0, 1)  # eigenvectors have no sign of their own
    deviation = values.flip(0)[:c].clamp_min(1e-12).sqrt()
    model.analysis.weight.copy_(basis.T)
    model.analysis.bias.copy_(-(basis.T @ mean))
    model.synthesis.weight.copy_(basis)
    model.synthesis.bias.copy_(mean)
    model.deviation.copy_(deviation)  # type: ignore[operator]
    log_steps = torch.tensor([math.log(uniform_step(lam, model.config.signal_channels)) for lam in lambdas])
    model.log_step.copy_(log_steps[:, None].expand_as(model.log_step))
    model.log_gain.copy_(-model.log_step)
    rate.initialize(deviation * model.log_gain.exp().double())
