# SPDX-License-Identifier: Apache-2.0
"""Distances between sounds, float32 [C, T] of one shape.

As WaLLoC's authors measure: the original's mean is taken away and its peak scaled to 0.5, the decoded sound alike, so
that loud and quiet recordings count alike and the range of values is 1.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

PEAK = 0.5
WINDOW, HOP, MELS, TOP = 2048, 512, 80, 20_000  # of the mel spectra: samples, bands, Hz
FLOOR = 1e-8  # of powers: -80 dB
RESOLUTIONS = (256, 1024, 4096)


def scaled(original: np.ndarray, decoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, without the original's mean, over twice its peak. Raises ValueError for two shapes."""
    if original.shape != decoded.shape:
        raise ValueError(f"expected two sounds of one shape; got {list(original.shape)} and {list(decoded.shape)}")
    a, b = original.astype(np.float64), decoded.astype(np.float64)
    if not a.size:
        return a, b
    mean = a.mean(1, keepdims=True)
    peak = float(np.abs(a - mean).max()) or 2 * PEAK
    return (a - mean) * (PEAK / peak), (b - mean) * (PEAK / peak)


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    """-10 log10 of the mean squared error of the scaled sounds, in dB; infinite if they are equal."""
    a, b = scaled(original, decoded)
    error = float(np.square(a - b).mean()) if a.size else 0.0
    return -10 * math.log10(error) if error else math.inf


def si_sdr(original: np.ndarray, decoded: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., ICASSP 2019, equation 5)."""
    a, b = (x.reshape(-1) for x in scaled(original, decoded))
    a, b = (x - x.mean() if x.size else x for x in (a, b))
    energy = float(a @ a)
    target = (a @ b) / energy * a if energy else 0 * a
    error, kept = float(np.square(b - target).sum()), float(np.square(target).sum())
    return math.inf if not error else 10 * math.log10(kept / error) if kept else -math.inf


def top_of(sample_rate: int) -> float:
    """Up to where sound of a rate is compared, in Hz: above its Nyquist frequency there never was anything."""
    return min(TOP, sample_rate / 2)


def log_mel(original: np.ndarray, decoded: np.ndarray, sample_rate: int = 44_100, top: float = TOP) -> float:
    """Mean difference in dB of the power in 80 mel bands of frames of 2048 samples, 512 apart; powers from -80 dB.

    top: of the bands, in Hz.
    """
    a, b = (torch.from_numpy(x).float() for x in scaled(original, decoded))
    if a.shape[1] < WINDOW:
        return log_mel(_long_enough(original), _long_enough(decoded), sample_rate, top) if a.numel() else 0.0
    mel = mel_matrix(sample_rate, top)
    return float(10 * (_log_power(mel, a) - _log_power(mel, b)).abs().mean())


def spectral(original: np.ndarray, decoded: np.ndarray) -> float:
    """Mean difference in dB of the power of all frequencies at three resolutions (multi-resolution STFT)."""
    a, b = (torch.from_numpy(x).float() for x in scaled(original, decoded))
    if a.shape[1] < max(RESOLUTIONS):
        return spectral(_long_enough(original), _long_enough(decoded)) if a.numel() else 0.0
    parts = [(_log_power(None, a, n, n // 2) - _log_power(None, b, n, n // 2)).abs().mean() for n in RESOLUTIONS]
    return float(10 * torch.stack(parts).mean())


def _long_enough(sound: np.ndarray) -> np.ndarray:
    return np.pad(sound, ((0, 0), (0, max(RESOLUTIONS))))


def _log_power(mel: Tensor | None, x: Tensor, window: int = WINDOW, hop: int = HOP) -> Tensor:
    """log10 of power [channels, bands, frames]; white noise of variance v has log10(v)."""
    hann = torch.hann_window(window)
    spectrum = torch.stft(x, window, hop, window=hann, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return ((power if mel is None else mel @ power) / hann.square().sum() + FLOOR).log10()


@cache
def mel_matrix(sample_rate: int, top: float = TOP) -> Tensor:
    """80 triangles of unit sum, equally spaced in mel (O'Shaughnessy) from 0 to `top` Hz: [80, 1025]."""
    edges = 700 * (np.logspace(0, np.log10(1 + top / 700), MELS + 2) - 1)[:, None]
    f = np.linspace(0, sample_rate / 2, WINDOW // 2 + 1)
    rise, fall = (f - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - f) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(np.minimum(rise, fall), 0) + 1e-9
    return torch.from_numpy(triangles / triangles.sum(1, keepdims=True)).float()
