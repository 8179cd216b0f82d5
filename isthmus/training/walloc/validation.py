# SPDX-License-Identifier: Apache-2.0
"""Validation of a codec in training: rate by order-0 entropy, PSNR of whole images, as CSV and plot."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from isthmus.models.walloc.image import Walloc, quantize
from isthmus.models.wavelet_packet import analyze_packet, synthesize_packet
from isthmus.training.data.crops import to_float

POINTS = 6  # of each validation curve
FIELDS = ["step", "seconds", "level", "bits_per_pixel", "psnr"]


def validation_levels(gain_levels: int) -> list[float]:
    """Gain levels of the points of a validation curve, from the lowest to the highest."""
    return [(gain_levels - 1) * i / (POINTS - 1) for i in range(POINTS)]


def order0_bits(q: Tensor) -> float:
    """Bits of integer planes q [c, h, w], each coded at its own empirical order-0 entropy."""
    bits = 0.0
    for plane in q.flatten(1).long():
        counts = torch.bincount(plane - plane.min()).double()
        counts = counts[counts > 0]
        bits += float(-(counts * (counts / counts.sum()).log2()).sum())
    return bits


@torch.no_grad()
def rate_distortion(model: Walloc, images: list[Tensor], levels: list[float]) -> list[tuple[float, float, float]]:
    """(level, bits per pixel, PSNR in dB) averaged over uint8 images [3, H, W]; sides are cut to the latent grid."""
    grid = 1 << model.config.levels
    points = []
    for value in levels:
        level = torch.tensor([value], device=images[0].device)
        rate = psnr = 0.0
        for image in images:
            x = image[:, : image.shape[1] // grid * grid, : image.shape[2] // grid * grid]
            bands = analyze_packet(to_float(x)[None], model.config.levels)
            q = quantize(model.analyze(bands, level))
            decoded = synthesize_packet(model.synthesize(model.dequantize(q, level), level), model.config.levels)
            decoded = ((decoded[0] + 1) * 127.5).round().clamp(0, 255)
            mse = float((decoded - x.float()).square().mean())
            rate += order0_bits(q[0]) / x[0].numel() / len(images)
            psnr += 10 * math.log10(255**2 / max(mse, 1e-9)) / len(images)
        points.append((value, rate, psnr))
    return points


def append_csv(
    path: Path, step: int, seconds: float, points: Sequence[tuple[float, ...]], fields: Sequence[str] = FIELDS
) -> None:
    """Adds one validation to the CSV, a line a point; the header is written when the file is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(fields)
        for level, *values in points:
            writer.writerow([step, round(seconds, 1), level, *(round(value, 5) for value in values)])


def plot_csv(path: Path, target: Path, rate: str = "bits_per_pixel", label: str = "bits per pixel") -> None:
    """Rate-distortion curves of all validations in the CSV, from pale (first) to dark (last)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs: dict[int, list[tuple[float, float]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            runs.setdefault(int(row["step"]), []).append((float(row[rate]), float(row["psnr"])))
    figure, axes = plt.subplots(figsize=(7, 5))
    for i, (step, points) in enumerate(runs.items()):
        last = i in (0, len(runs) - 1)
        named = f"step {step}" + (" (start)" if i == 0 else "") if last else None
        axes.plot(*zip(*points, strict=True), "o-", color=plt.cm.viridis_r((i + 1) / len(runs)), label=named)  # type: ignore[attr-defined]
    axes.set(xlabel=f"{label} (order-0 entropy of each file and channel)", ylabel="PSNR (dB)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target, dpi=110, bbox_inches="tight")
    plt.close(figure)
