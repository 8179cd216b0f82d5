# SPDX-License-Identifier: Apache-2.0
"""Noise in place of what a codec of sound has lost, as strong as the encoder says: what is coded to zero is not silent.

Levels are integers L, one for each group of bands and each NOISE_FRAMES frames: the geometric mean of the squares of
what the linear synthesis misses there is 10^(-0.4 L), where L = SILENT means nothing at all. That is perceptual noise
substitution (Herre and Schulz, AES convention 104, 1998), beneath the coded values instead of in their place.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Float32, Int16

WIDER = 8  # bands after which groups get one band wider
NOISE_FRAMES = 64  # that share a level: 0.37 s
LOOKED_AT = 4  # every so many frames are measured
STEP = 4.0  # dB
SILENT = 30  # -120 dB
LAZY = 1.0  # steps by which a level may be off rather than change
SHARE = 0.6  # of that mean which the noise gets: what sounds closest in mel spectra, for 1 dB of PSNR


def noise_widths(bands: int) -> list[int]:
    """How many bands each group of one channel has, from the lowest on."""
    widths: list[int] = []
    first = 0
    while first < bands:
        widths.append(min(bands - first, 1 + first // WIDER))
        first += widths[-1]
    return widths


def noise_count(frames: int) -> int:
    """Levels in time for the frames of a unit; the last one is for what is left."""
    return max(1, frames // NOISE_FRAMES) if frames else 0


def measure_noise(missed: Float32, frames: int, channels: int) -> Int16:
    """Levels int16 [channels * groups, noise_count] of a unit.

    missed: what the linear synthesis misses of bands [channels * n, ...] in every LOOKED_AT-th of its `frames`. All
    arithmetic is plain additions and products, so that levels do not depend on a library's logarithm.
    """
    count, bands = noise_count(frames), len(missed) // channels
    starts = np.concatenate([[0], np.cumsum(noise_widths(bands))[:-1]])
    widths = np.array(noise_widths(bands), np.float32)
    squares = np.square(missed).reshape(channels, bands, -1)
    energy = np.add.reduceat(squares, starts, 1) / widths[:, None]
    mantissa, exponent = np.frexp(energy.reshape(-1, squares.shape[2]).astype(np.float64) + 1e-13)
    f = 2 * mantissa - 1
    log2 = exponent - 1 + f * (1.3465 - 0.3465 * f)  # off by 0.01 at most
    block = np.minimum(np.arange(0, frames, LOOKED_AT) // NOISE_FRAMES, count - 1)
    firsts = np.searchsorted(block, np.arange(count))
    means = np.add.reduceat(log2, firsts, 1) / np.bincount(block, minlength=count)
    exact = means * (-10 * 0.30103 / STEP)
    levels = np.rint(exact)
    for t in range(1, count):  # what has not changed much stays, which costs least
        near = np.abs(exact[:, t] - levels[:, t - 1]) <= LAZY
        levels[near, t] = levels[near, t - 1]
    return np.clip(levels, 0, SILENT).astype(np.int16)


def level_differences(levels: Int16) -> Int16:
    """What is coded of the levels [channels * groups, n] of a unit, of the same shape.

    Of the first channel at first how each group differs from the one below it, then from itself before; of the second
    channel how it differs from the first.
    """
    first, *others = np.split(levels, 2) if len(levels) % 2 == 0 else [levels]
    found = np.concatenate([first[:, :1], np.diff(first, axis=1)], 1)
    found[1:, :1] -= first[:-1, :1]
    return np.ascontiguousarray(np.concatenate([found, *(other - first for other in others)]))


def levels_of(differences: Int16) -> Int16:
    """The inverse of `level_differences`, modulo 2^16."""
    first, *others = np.split(differences, 2) if len(differences) % 2 == 0 else [differences]
    first = first.copy()
    first[:, :1] = np.cumsum(first[:, :1], 0, dtype=np.int16)
    first = np.cumsum(first, 1, dtype=np.int16)
    return np.ascontiguousarray(np.concatenate([first, *(other + first for other in others)]))


def noise_deviation(levels: NDArray[np.integer], frames: int, bands: int) -> Float32:
    """Standard deviation of the noise in each band and frame of a unit, [channels * bands, frames], of its levels."""
    widths = noise_widths(bands)
    channels, count = len(levels) // len(widths), levels.shape[1]
    power = np.where(levels < SILENT, SHARE * 10.0 ** (-0.1 * STEP * levels.astype(np.float64)), 0.0)
    by_band = np.repeat(np.sqrt(power).astype(np.float32), np.tile(widths, channels), axis=0)
    return (
        by_band[:, np.minimum(np.arange(frames) // NOISE_FRAMES, count - 1)]
        if count
        else np.zeros((channels * bands, frames), np.float32)
    )
