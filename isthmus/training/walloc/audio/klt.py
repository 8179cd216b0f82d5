# SPDX-License-Identifier: Apache-2.0
"""Start of every WaLLoC model of sound, and its floor: the Karhunen-Loeve transform of the bands, uniform steps."""

from collections.abc import Iterable

import torch
from torch import Tensor

from isthmus.models.levels import lerp_levels
from isthmus.models.walloc.audio import WallocAudio, quantize
from isthmus.progress import each


@torch.no_grad()
def initialize(model: WallocAudio, crops: Iterable[Tensor], steps: list[float]) -> None:
    """Sets `model` to the KLT fitted on crops [B, 2, samples], steps one a gain level, in float64 on their device.

    Bands have no mean: signs of crops are random. Channels come in order of falling variance. The step of a channel and
    level is that by which its integers fit the latents best.
    """
    bank, bands = model.config.bank, []
    covariance: Tensor | None = None
    total = 0
    for crop in crops:
        band = bank.analyze(crop).flatten(1, 2).double()  # [B, n, T]
        bands.append(band.float())
        covariance = torch.einsum("bit,bjt->ij", band, band) + (0 if covariance is None else covariance)
        total += band.shape[0] * band.shape[2]
    assert covariance is not None
    values, vectors = torch.linalg.eigh(covariance / total)  # ascending
    basis = vectors.flip(1)  # [n, n], orthonormal columns
    basis = basis * torch.sign(basis.sum(0)).where(basis.sum(0) != 0, 1)  # eigenvectors have no sign of their own
    variance = values.flip(0).clamp_min(1e-14)
    c, n = model.config.latent_channels, model.config.bands
    model.analysis.weight.copy_(basis[:, :c].T)
    model.synthesis.weight.copy_(basis[:, :c])
    model.deviation.copy_(variance[:c].sqrt())  # type: ignore[operator]
    model.basis.copy_(basis)  # type: ignore[operator]
    model.log_gain.copy_(-torch.tensor(steps).log()[:, None].expand_as(model.log_gain))
    components = [basis.T.float() @ band for band in bands]
    del bands
    for level, step in enumerate(each(steps, "steps", what="KLT: quantizer steps")):
        dot, square, error = (torch.zeros(k, dtype=torch.float64, device=basis.device) for k in (c, c, n))
        for y in components:
            scaled = y[:, :c] / step
            q = quantize(scaled)
            dot += (scaled * q).double().sum((0, 2))
            square += q.square().double().sum((0, 2))
        centre = torch.where(square > 100, dot / square.clamp_min(1), 1.0).clamp(0.8, 1.2)
        model.log_step[level] = (step * centre).log()
        for y in components:
            missed = y.clone()
            missed[:, :c] -= quantize(y[:, :c] / step) * (step * centre.float())[:, None]
            error += missed.square().double().sum((0, 2))
        model.get_buffer("spread")[level] = (error / total).clamp_min(1e-14).sqrt()


def expected_error(model: WallocAudio, level: Tensor) -> Tensor:
    """Mean square error a band of the floor on typical sound, at levels [B]: [B]."""
    return lerp_levels(model.spread.square(), level).mean(1)  # type: ignore[operator]
