# SPDX-License-Identifier: Apache-2.0
"""Bjontegaard delta rate: how many more bits one codec needs than another for the same quality.

G. Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001; with piecewise cubic
Hermite interpolation (PCHIP) in place of its single cubic. Slopes: F. N. Fritsch and J. Butland, "A method for
constructing local monotone piecewise cubic interpolants", SIAM J. Sci. Stat. Comput. 5(2), 1984.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BDRate:
    """Mean rate difference in percent (negative: fewer bits than the anchor) over [low, high] of the quality."""

    percent: float
    low: float
    high: float


class Pchip:
    """Monotone piecewise cubic through (x, y), x strictly increasing, at least two points, not extrapolated."""

    def __init__(self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> None:
        self.x, self.y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.x.ndim != 1 or self.x.shape != self.y.shape or self.x.size < 2 or np.any(np.diff(self.x) <= 0):
            raise ValueError("Pchip: expected at least two points with strictly increasing x")
        self.slopes = _slopes(np.diff(self.x), np.diff(self.y))

    def __call__(self, at: Sequence[float] | np.ndarray) -> np.ndarray:
        points = np.asarray(at, np.float64)
        i = np.clip(np.searchsorted(self.x, points, side="right") - 1, 0, self.x.size - 2)
        width = self.x[i + 1] - self.x[i]
        t = (points - self.x[i]) / width
        rise = 3 * t**2 - 2 * t**3  # cubic Hermite basis
        return (
            self.y[i] * (1 - rise)
            + self.y[i + 1] * rise
            + width * (self.slopes[i] * t * (1 - t) ** 2 - self.slopes[i + 1] * t**2 * (1 - t))
        )

    def integral(self, low: float, high: float) -> float:
        """Integral from `low` to `high`, both inside x. Exact: Simpson's rule is, for the cubic between two knots."""
        knots = np.concatenate([[low], self.x[(self.x > low) & (self.x < high)], [high]])
        left, right = knots[:-1], knots[1:]
        return float(np.sum((right - left) / 6 * (self(left) + 4 * self((left + right) / 2) + self(right))))


def _slopes(width: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Slopes at the knots: weighted harmonic means inside, three-point estimates kept monotone at both ends."""
    secant = rise / width
    if secant.size == 1:
        return np.repeat(secant, 2)
    before, after = width[1:] + 2 * width[:-1], 2 * width[1:] + width[:-1]
    same_sign = secant[:-1] * secant[1:] > 0
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        harmonic = (before + after) / (after / secant[:-1] + before / secant[1:])
    inner = np.where(same_sign, harmonic, 0.0)
    first = _end_slope(width[0], width[1], secant[0], secant[1])
    last = _end_slope(width[-1], width[-2], secant[-1], secant[-2])
    return np.concatenate([[first], inner, [last]])


def _end_slope(near: float, far: float, near_secant: float, far_secant: float) -> float:
    slope = ((2 * near + far) * near_secant - near * far_secant) / (near + far)
    if slope * near_secant <= 0:
        return 0.0
    if near_secant * far_secant <= 0 and abs(slope) > 3 * abs(near_secant):
        return 3 * near_secant
    return slope


def monotone_points(bpp: Sequence[float], quality: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The points in order of rate, without those that another point beats: as good or better for no more bits.

    Points that are not finite, or of no bits, are left out too (lossless decodes have a PSNR of infinity).
    """
    rate, value = np.asarray(bpp, np.float64), np.asarray(quality, np.float64)
    if rate.shape != value.shape or rate.ndim != 1:
        raise ValueError(f"bd_rate: {rate.size} rates for {value.size} qualities; expected as many")
    usable = np.isfinite(rate) & np.isfinite(value) & (rate > 0)
    rate, value = rate[usable], value[usable]
    order = np.lexsort((-value, rate))
    rate, value = rate[order], value[order]
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], value]))[:-1]
    return rate[value > best_before], value[value > best_before]


def bd_rate(
    anchor_bpp: Sequence[float],
    anchor_quality: Sequence[float],
    bpp: Sequence[float],
    quality: Sequence[float],
    *,
    anchor_range: tuple[float, float] | None = None,
) -> BDRate:
    """Mean difference in rate at equal quality of a codec from the anchor, over the qualities that both reach.

    The mean is taken of the logarithm of the rate over quality (dB for PSNR and for MS-SSIM), both curves
    interpolated by PCHIP. Points may come in any order; see `monotone_points` for those that are left out.
    anchor_range: bits per pixel of the anchor between whose qualities to stay, such as (0.3, 1.5).

    Raises ValueError if a curve has fewer than two usable points or the two share no range of quality.
    """
    anchor_rate, anchor_value = monotone_points(anchor_bpp, anchor_quality)
    rate, value = monotone_points(bpp, quality)
    for name, points in (("anchor", anchor_value), ("codec", value)):
        if points.size < 2:
            raise ValueError(f"bd_rate: the {name} has {points.size} usable points; expected at least 2")
    low, high = max(anchor_value[0], value[0]), min(anchor_value[-1], value[-1])
    if anchor_range is not None:
        ends = np.clip(np.log(anchor_range), np.log(anchor_rate[0]), np.log(anchor_rate[-1]))
        first, last = Pchip(np.log(anchor_rate), anchor_value)(ends)
        low, high = max(low, first), min(high, last)
    if low >= high:
        raise ValueError(
            f"bd_rate: no quality in common: anchor {anchor_value[0]:.3f} to {anchor_value[-1]:.3f}, "
            f"codec {value[0]:.3f} to {value[-1]:.3f}" + (f", anchor range {anchor_range} bpp" if anchor_range else "")
        )
    anchor_log, codec_log = Pchip(anchor_value, np.log(anchor_rate)), Pchip(value, np.log(rate))
    difference = (codec_log.integral(low, high) - anchor_log.integral(low, high)) / (high - low)
    return BDRate(float(100 * np.expm1(difference)), float(low), float(high))
