# SPDX-License-Identifier: Apache-2.0
"""The floor that no trained codec may fall below: the KLT of the wavelet-packet bands, fitted on a folder of images.

Its rate is on paper: the order-0 entropy of every image and channel, with no header and no tables.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.bench.metrics.image import ms_ssim, psnr
from isthmus.bench.runs import Row
from isthmus.kernels.wavelet.image import analyze_bands, synthesize_image
from isthmus.media.image import read_image
from isthmus.models.walloc.image import ROUNDING_OFFSET
from isthmus.training.walloc.klt import band_statistics
from isthmus.training.walloc.validation import order0_bits

STEPS = tuple(0.03 * 2 ** (k / 2) for k in range(12))  # of latents in the scale of the bands: 3.6 to 173 grey levels

Float32 = NDArray[np.float32]
Quantizer = Callable[[Float32], tuple[NDArray[np.int32], Float32]]  # latents [c, h, w] to integers and what they mean


def read_rgb(path: Path) -> np.ndarray:
    """uint8 [H, W, 3]; grey is repeated, transparent pixels lie on black."""
    image = read_image(path, background="black")
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


@dataclass(frozen=True)
class Klt:
    """mean [n], basis [n, n] with columns in order of falling variance, deviation [n] of each."""

    mean: Float32
    basis: Float32
    deviation: Float32

    @classmethod
    def fit(cls, files: Sequence[Path]) -> "Klt":
        """From every band position of every image, one image in memory at a time."""
        count, first, second = 0, torch.zeros(1), torch.zeros(1)
        for path in files:
            bands = torch.from_numpy(analyze_bands(read_rgb(path).transpose(2, 0, 1), threads=2))
            mean, covariance = band_statistics(bands[None])
            positions = bands[0].numel()
            first = first + positions * mean
            second = second + positions * (covariance + torch.outer(mean, mean))
            count += positions
        mean = first / count
        values, vectors = torch.linalg.eigh(second / count - torch.outer(mean, mean))
        deviation = values.flip(0).clamp_min(1e-12).sqrt()
        return cls(*(x.float().contiguous().numpy() for x in (mean, vectors.flip(1), deviation)))

    def analyze(self, image: np.ndarray, channels: int) -> Float32:
        """uint8 [H, W, 3] to float32 [channels, ceil(H/8), ceil(W/8)]."""
        bands = analyze_bands(image.transpose(2, 0, 1), threads=2)
        return np.tensordot(self.basis[:, :channels].T, bands - self.mean[:, None, None], 1)

    def synthesize(self, latent: Float32, height: int, width: int) -> np.ndarray:
        """The inverse, from the leading channels: uint8 [height, width, 3]."""
        bands = np.tensordot(self.basis[:, : len(latent)], latent, 1) + self.mean[:, None, None]
        return synthesize_image(bands, height, width, threads=2).transpose(1, 2, 0)


def uniform(step: float, offset: float = ROUNDING_OFFSET) -> Quantizer:
    """sign(y) floor(|y| / step + offset), one step for all channels; integers stand for their multiple of the step."""

    def quantize(latent: Float32) -> tuple[NDArray[np.int32], Float32]:
        scaled = latent / np.float32(step)
        q = np.copysign(np.floor(np.abs(scaled) + np.float32(offset)), scaled)
        return q.astype(np.int32), q * np.float32(step)

    return quantize


def rate_distortion_rows(
    klt: Klt,
    name: str,
    channels: int,
    images: dict[str, np.ndarray],
    quantizers: Sequence[Quantizer],
    *,
    similarity: bool = True,
) -> list[Row]:
    """One row for each image and quantizer, whose number is the setting; `bytes` are rounded entropies.

    similarity=False leaves out MS-SSIM, which takes most of the time (it reads 0).
    """
    rows = []
    for file, image in images.items():
        height, width = image.shape[:2]
        start = time.perf_counter()
        latent = klt.analyze(image, channels)
        analysis = time.perf_counter() - start
        for number, quantize in enumerate(quantizers):
            q, values = quantize(latent)
            bits = order0_bits(torch.from_numpy(q))
            start = time.perf_counter()
            decoded = klt.synthesize(values, height, width)
            synthesis = time.perf_counter() - start
            measures = {"psnr": psnr(image, decoded), "ms_ssim": ms_ssim(image, decoded) if similarity else 0.0}
            pixels, size = width * height, f"{width}x{height}"
            amount, length = pixels / 1e6, round(bits / 8)
            rows.append(
                Row(name, f"step={number}", file, size, amount, length, bits / pixels, measures, analysis, synthesis)
            )
    return rows
