# SPDX-License-Identifier: Apache-2.0
"""The start of every training: a Karhunen-Loeve transform that codes a photograph sanely before any step."""

import math

import numpy as np
import pytest
import torch

from isthmus.models.rate import LogisticMixture
from isthmus.models.walloc.image import Walloc, WallocConfig
from isthmus.models.wavelet_packet import analyze_packet
from isthmus.training.walloc.klt import band_statistics, initialize, uniform_step
from isthmus.training.walloc.validation import order0_bits, rate_distortion

LAMBDAS = [0.0008, 0.004, 0.03, 0.2]


@pytest.fixture(scope="module")
def bands(astronaut: np.ndarray) -> torch.Tensor:
    """float32 [1, 192, 64, 64] of the photograph."""
    return analyze_packet(torch.from_numpy(astronaut).permute(2, 0, 1)[None].float() / 127.5 - 1, 3)


def start(channels: int, bands: torch.Tensor) -> tuple[Walloc, LogisticMixture]:
    torch.manual_seed(0)
    model = Walloc(WallocConfig(latent_channels=channels, width=8, blocks=1, gain_levels=4))
    rate = LogisticMixture(4, channels)
    initialize(model, rate, bands, LAMBDAS)
    return model.eval(), rate


def test_band_statistics() -> None:
    x = torch.randn(2, 5, 7, 3, generator=torch.Generator().manual_seed(0))
    mean, covariance = band_statistics(x)
    flat = x.transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(mean, flat.mean(1))
    torch.testing.assert_close(covariance, torch.cov(flat, correction=0))


def test_analysis_is_orthonormal_and_decorrelates(bands: torch.Tensor) -> None:
    model, _ = start(48, bands)
    weight = model.analysis.weight.detach()
    torch.testing.assert_close(weight @ weight.T, torch.eye(48), atol=1e-5, rtol=0)
    assert torch.equal(model.synthesis.weight, weight.T)
    with torch.inference_mode():
        y = torch.nn.functional.conv2d(bands, weight[..., None, None], model.analysis.bias)
    mean, covariance = band_statistics(y)
    deviation = covariance.diagonal().sqrt()
    assert mean.abs().max() < 1e-4
    torch.testing.assert_close(deviation.float(), model.deviation, rtol=1e-3, atol=1e-4)
    assert (deviation.diff() <= 1e-6).all()  # in order of falling variance
    correlation = covariance / deviation[:, None] / deviation
    assert (correlation - torch.eye(48)).abs().max() < 1e-2


def test_all_channels_lose_nothing(bands: torch.Tensor) -> None:
    model, _ = start(192, bands)
    with torch.inference_mode():
        y = torch.nn.functional.conv2d(bands, model.analysis.weight[..., None, None], model.analysis.bias)
        back = model.synthesize(y, torch.tensor([1.0]))  # the network begins at zero
    torch.testing.assert_close(back, bands, atol=1e-4, rtol=0)


def test_steps_follow_high_rate_theory(bands: torch.Tensor) -> None:
    """At the step of a lambda, d(rate)/d(distortion) is that lambda: halving the step costs one bit a coefficient."""
    model, _ = start(48, bands)
    assert torch.equal(model.log_gain, -model.log_step)
    for lam, row in zip(LAMBDAS, model.log_step.exp(), strict=True):
        step = uniform_step(lam)
        torch.testing.assert_close(row, torch.full((48,), step))
        distortion = (step * 127.5) ** 2 / 12 / 3  # mean over three channels of one coefficient's error, on 0..255
        assert lam * 2 * math.log(2) * distortion == pytest.approx(1)


@pytest.mark.parametrize(("channels", "floors"), [(12, (22.5, 25.0, 26.0, 26.3)), (48, (22.5, 26.5, 31.0, 33.0))])
def test_rate_and_distortion_of_the_start(
    astronaut: np.ndarray, bands: torch.Tensor, channels: int, floors: tuple[float, ...]
) -> None:
    model, rate = start(channels, bands)
    image = torch.from_numpy(astronaut).permute(2, 0, 1)
    points = rate_distortion(model, [image], [0.0, 1.0, 2.0, 3.0])
    rates, levels = [p[1] for p in points], [p[2] for p in points]
    assert rates == sorted(rates) and levels == sorted(levels)
    assert 0.05 < rates[0] < 0.3 and 0.5 < rates[-1] < 3
    assert all(found >= floor for found, floor in zip(levels, floors, strict=True)), points
    with torch.inference_mode():
        level = torch.tensor([2.0])
        q = model.analyze(bands, level).round()
        estimated = float(rate(q, level).sum())
    assert estimated == pytest.approx(order0_bits(q[0]), rel=0.35)  # the rate term begins near the truth


def test_order0_bits() -> None:
    assert order0_bits(torch.zeros(3, 4, 5)) == 0
    assert order0_bits(torch.tensor([[[0, 1], [1, 0]], [[-7, -7], [-7, -7]]])) == 4
    assert order0_bits(torch.arange(8).reshape(1, 2, 4)) == 24
