# SPDX-License-Identifier: Apache-2.0
"""Metrics against slow numpy definitions."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.bench.metrics.image import load_lpips, ms_ssim, ms_ssim_db, psnr
from isthmus.errors import MissingExtraError, UnreadableFileError

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def picture(height, width, channels=3):
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / (5 + c)) * np.cos(y / (9 - c)) + 30 * np.sin(x * y / 40) for c in range(channels)]
    return np.clip(np.stack(waves, axis=2), 0, 255).astype(np.uint8)


def noisy(image, sigma, seed=1):
    return np.clip(image + np.random.default_rng(seed).normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def window(taps):
    offsets = np.arange(taps) - (taps - 1) / 2
    weights = np.exp(-(offsets**2) / 4.5)
    return weights / weights.sum()


def slow_filter(plane):
    kernel = np.outer(window(min(11, plane.shape[0])), window(min(11, plane.shape[1])))
    return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(plane, kernel.shape), kernel)


def slow_halving(plane):
    padded = np.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2)), mode="edge")
    return padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))


def slow_ms_ssim(a, b):
    values = []
    for c in range(a.shape[2]):
        x, y, terms = a[..., c].astype(float), b[..., c].astype(float), []
        while True:
            mx, my = slow_filter(x), slow_filter(y)
            vx, vy, vxy = slow_filter(x * x) - mx**2, slow_filter(y * y) - my**2, slow_filter(x * y) - mx * my
            contrast = (2 * vxy + 58.5225) / (vx + vy + 58.5225)
            luminance = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            x, y = slow_halving(x), slow_halving(y)
            if len(terms) == 4 or min(x.shape) < 11:
                terms.append((contrast * luminance).mean())
                break
            terms.append(contrast.mean())
        used = WEIGHTS[: len(terms)]
        values.append(math.prod(max(t, 0) ** (w / sum(used)) for t, w in zip(terms, used, strict=True)))
    return np.mean(values)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 3, 1), (11, 40, 1), (21, 22, 3), (97, 161, 3), (203, 176, 3)])
@pytest.mark.parametrize("sigma", [2, 40])
def test_ms_ssim_equals_the_definition(shape, sigma):
    a = picture(*shape)
    b = noisy(a, sigma)
    assert ms_ssim(a, b) == pytest.approx(slow_ms_ssim(a, b), abs=2e-5)


def test_ms_ssim_of_equal_images_and_of_growing_noise():
    a = picture(180, 190)
    assert ms_ssim(a, a) == pytest.approx(1, abs=1e-6)
    values = [ms_ssim(a, noisy(a, sigma)) for sigma in (1, 4, 10, 25, 60)]
    assert values == sorted(values, reverse=True)
    assert 0 < values[-1] < 0.9 < values[1]
    assert ms_ssim(a, 255 - a) < 0.1


def test_ms_ssim_of_non_contiguous_views():
    a = picture(60, 50)
    b = noisy(a, 9)
    wide = np.zeros((60, 100, 6), np.uint8)
    wide[:, ::2, ::2] = b
    assert ms_ssim(a, wide[:, ::2, ::2]) == ms_ssim(a, b)
    assert psnr(a, wide[:, ::2, ::2]) == psnr(a, b)


def test_decibels():
    assert ms_ssim_db(0.9) == pytest.approx(10)
    assert ms_ssim_db(0.999) == pytest.approx(30)
    assert ms_ssim_db(1.0) == math.inf


@settings(max_examples=30)
@given(st.integers(1, 150), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_psnr_equals_the_definition(height, width, seed):
    a, b = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    mse = np.mean((a.astype(float) - b) ** 2)
    assert psnr(a, b) == (pytest.approx(10 * np.log10(65025 / mse)) if mse else math.inf)


def test_psnr_fixed_values():
    black = np.zeros((70, 3, 3), np.uint8)
    assert psnr(black, black) == math.inf
    assert psnr(black, black + np.uint8(255)) == 0
    assert psnr(black, black + np.uint8(1)) == pytest.approx(48.1308, abs=1e-4)


@pytest.mark.parametrize("metric", [psnr, ms_ssim])
def test_wrong_pairs(metric):
    a = picture(8, 8)
    with pytest.raises(ValueError, match="one shape"):
        metric(a, a[:4])
    with pytest.raises(ValueError, match="uint8"):
        metric(a, a.astype(float))
    with pytest.raises(ValueError, match="uint8 images"):
        metric(a[:0], a[:0])


class TinyLPIPS(torch.nn.Module):
    """Stands in for lpips.LPIPS: a weighted mean absolute difference."""

    def __init__(self, net, pretrained, pnet_rand, verbose):
        super().__init__()
        assert not pretrained and pnet_rand
        self.scale = torch.nn.Parameter(torch.zeros(1))

    def forward(self, a, b):
        return (a - b).abs().mean() * self.scale


def test_lpips_reads_only_the_given_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", type("lpips", (), {"LPIPS": TinyLPIPS}))
    torch.save({"scale": torch.tensor([3.0])}, tmp_path / "w.pth")
    black = np.zeros((4, 5, 3), np.uint8)
    assert load_lpips(tmp_path / "w.pth")(black, black + np.uint8(255)) == pytest.approx(6)
    (tmp_path / "bad.pth").write_bytes(b"nonsense")
    with pytest.raises(UnreadableFileError, match=r"bad\.pth: not the state of lpips"):
        load_lpips(tmp_path / "bad.pth")


def test_lpips_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingExtraError, match="pip install lpips"):
        load_lpips(tmp_path / "w.pth")
