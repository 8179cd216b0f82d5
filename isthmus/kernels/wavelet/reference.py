# SPDX-License-Identifier: Apache-2.0
"""The definition of the wavelet packet transform: CDF 9/7 lifting in plain numpy, float32.

Filters are pywt's `bior4.4`. Every band is split again at every level; along the channel axis the index becomes
`c * 4 + f`, f in pywt's order cA, cH, cV, cD (bit 1: high along x, bit 0: high along y), so the first split is the most
significant digit. In one dimension it becomes `c * 2 + f`.

Order of operations, which every CPU backend follows bit for bit, each operation rounded to float32 on its own (no FMA):
1. all levels along x, then all levels along y, by the four lifting steps `a = a + c * (b + b')`, unscaled;
2. one multiplication of each band by `band_scales(...)`, in which the scales of all levels and `gain` are folded.
Synthesis multiplies by the inverse, then undoes y, then x.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from isthmus.arrays.types import Float32

Mode = Literal["symmetric", "periodization"]

# Daubechies and Sweldens, "Factoring wavelet transforms into lifting steps" (1998), section 7.7.
ALPHA, BETA = np.float32(-1.586134342059924), np.float32(-0.052980118572961)
GAMMA, DELTA = np.float32(0.882911075530934), np.float32(0.443506852043971)
LOW_SCALE = 1.149604398860242  # gives the low band a DC gain of sqrt(2) a level and axis
# The high band's scale is -1 / LOW_SCALE: the sign is that of pywt's high-pass filter.


def band_scales(levels: int, axes: int, gain: float = 1.0) -> Float32:
    """What step 2 multiplies each band of one channel by, float32 [2**(levels * axes)], rounded once from float64."""
    high = np.array([band.bit_count() for band in range(1 << (levels * axes))])  # splits that took the high band
    return (gain * np.where(high % 2, -1.0, 1.0) * LOW_SCALE ** (levels * axes - 2 * high)).astype(np.float32)


def inverse_scales(levels: int, axes: int, gain: float = 1.0) -> Float32:
    """What synthesis multiplies each band by: `gain` over the scales of the analysis, float32, rounded once."""
    high = np.array([band.bit_count() for band in range(1 << (levels * axes))])
    return (gain * np.where(high % 2, -1.0, 1.0) * LOW_SCALE ** (2 * high - levels * axes)).astype(np.float32)


def check_packet(shape: Sequence[int], levels: int, mode: str, channels_per_band: int = 1) -> None:
    """Raise ValueError unless `shape` is that of samples (or of bands, with `channels_per_band`) for these levels."""
    if mode not in get_args(Mode):
        raise ValueError(f"mode: got {mode!r}; expected 'symmetric' or 'periodization'")
    if not 0 <= levels <= 10:
        raise ValueError(f"levels: got {levels}; expected 0 to 10")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"got shape {tuple(shape)}; expected [C, T] or [C, H, W] without an empty axis")
    if channels_per_band > 1 and shape[0] % channels_per_band:
        raise ValueError(f"got {shape[0]} bands; expected a multiple of {channels_per_band} for {levels} levels")
    if channels_per_band == 1 and any(n % (1 << levels) for n in shape[1:]):
        raise ValueError(f"got shape {tuple(shape)}; expected lengths that are multiples of {1 << levels}: pad first")


def _next(s: Float32, mode: Mode) -> Float32:
    """s[i + 1]; beyond the end s[n] = s[n - 1] (whole-sample symmetry of the samples) or s[0]."""
    return np.concatenate((s[..., 1:], s[..., -1:] if mode == "symmetric" else s[..., :1]), axis=-1)


def _previous(d: Float32, mode: Mode) -> Float32:
    """d[i - 1]; before the start d[-1] = d[0] (whole-sample symmetry of the samples) or d[n - 1]."""
    return np.concatenate((d[..., :1] if mode == "symmetric" else d[..., -1:], d[..., :-1]), axis=-1)


def split(x: Float32, levels: int, mode: Mode) -> Float32:
    """All levels along the last axis: [..., n] -> [..., 2**levels, n / 2**levels], unscaled."""
    x = x[..., None, :]
    for _ in range(levels):
        s, d = x[..., 0::2], x[..., 1::2]
        d = d + ALPHA * (s + _next(s, mode))
        s = s + BETA * (_previous(d, mode) + d)
        d = d + GAMMA * (s + _next(s, mode))
        s = s + DELTA * (_previous(d, mode) + d)
        x = np.stack((s, d), axis=-2).reshape(*x.shape[:-2], 2 * x.shape[-2], x.shape[-1] // 2)
    return x


def merge(bands: Float32, levels: int, mode: Mode) -> Float32:
    """The inverse of `split`: the same steps backwards, with the signs turned."""
    for _ in range(levels):
        s, d = bands[..., 0::2, :], bands[..., 1::2, :]
        s = s - DELTA * (_previous(d, mode) + d)
        d = d - GAMMA * (s + _next(s, mode))
        s = s - BETA * (_previous(d, mode) + d)
        d = d - ALPHA * (s + _next(s, mode))
        bands = np.stack((s, d), axis=-1).reshape(*s.shape[:-1], 2 * s.shape[-1])
    return bands[..., 0, :]


def interleave_digits(levels: int) -> tuple[int, ...]:
    """Axes that take (c, x1..xJ, y1..yJ, y, x) to (c, x1, y1, x2, y2, ..., y, x)."""
    pairs = [axis for level in range(levels) for axis in (1 + level, 1 + levels + level)]
    return (0, *pairs, 1 + 2 * levels, 2 + 2 * levels)


def analyze_packet(x: Float32, levels: int, mode: Mode = "symmetric", gain: float = 1.0) -> Float32:
    """Bands of float32 `x` [C, T] or [C, H, W]: float32 [C * 2**levels, ...] or [C * 4**levels, ...], times `gain`.

    Lengths are multiples of 2**levels. Raises ValueError for other shapes or an unknown mode.
    """
    check_packet(x.shape, levels, mode)
    axes = x.ndim - 1
    bands = split(x, levels, mode)  # [C, (H,) X, w]
    if axes == 2:
        bands = split(bands.transpose(0, 2, 3, 1), levels, mode)  # [C, X, w, Y, h]
        channels, _, w, _, h = bands.shape
        digits = bands.transpose(0, 1, 3, 4, 2).reshape(channels, *(2,) * (2 * levels), h, w)
        bands = digits.transpose(interleave_digits(levels))
    scales = band_scales(levels, axes, gain)
    size = tuple(n >> levels for n in x.shape[1:])
    bands = bands.reshape(x.shape[0], len(scales), *size) * scales.reshape(-1, *(1,) * axes)
    return np.ascontiguousarray(bands.reshape(-1, *size))


def synthesize_packet(bands: Float32, levels: int, mode: Mode = "symmetric", gain: float = 1.0) -> Float32:
    """The inverse of `analyze_packet`, times `gain`; exact but for float32 rounding. Raises ValueError as it does."""
    axes = bands.ndim - 1
    check_packet(bands.shape, levels, mode, 1 << (levels * axes))
    scales = inverse_scales(levels, axes, gain)
    size = bands.shape[1:]
    bands = bands.reshape(-1, len(scales), *size) * scales.reshape(-1, *(1,) * axes)
    if axes == 2:
        digits = bands.reshape(-1, *(2,) * (2 * levels), *size).transpose(np.argsort(interleave_digits(levels)))
        halves = digits.reshape(-1, 1 << levels, 1 << levels, *size)  # [C, X, Y, h, w]
        bands = merge(halves.transpose(0, 1, 4, 2, 3), levels, mode).transpose(0, 3, 1, 2)  # [C, H, X, w]
    return np.ascontiguousarray(merge(bands, levels, mode))
