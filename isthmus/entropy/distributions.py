# SPDX-License-Identifier: Apache-2.0
"""Table families of zero-mean distributions, one table a scale: Gaussian, Laplace and logistic.

A table holds the mass of each unit interval around an integer (Balle et al. 2018, arXiv 1802.01436, section 3). The
masses are float64 and rounded to integers once. Ship a model with its tables (`TableFamily.to_arrays`) rather than make
them again where it decodes: only integers are the same on every machine for certain.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.arrays.numbers import as_array, check_finite
from isthmus.arrays.types import Float64
from isthmus.entropy.tables.family import MAX_PRECISION, TableFamily

TAIL_LOSS = 2.0**-15  # mass left to the escape for each bit of entropy: an escape costs 8 to 24 bits more
LEAST_ENTROPY = 0.1  # bits; see quantize_pmf
GRID = 1 << 40  # masses are rounded to multiples of 1 / GRID, so that the last bits of a platform's exp do not matter

Survival = Callable[[float], float]  # mass of x > t for t > 0 and scale 1


def log_spaced(count: int = 64, lowest: float = 0.11, highest: float = 256.0) -> Float64:
    """Rising scales [count] in equal ratios, rounded to multiples of 2**-16, so that they are the same everywhere.

    The defaults are those of learned image codecs with a scale hyperprior.

    >>> log_spaced(4).tolist()
    [0.1100006103515625, 1.4577178955078125, 19.317794799804688, 256.0]
    """
    if count < 2 or not 0 < lowest < highest:
        raise ValueError(
            f"log_spaced: {count} scales from {lowest} to {highest}, expected 2 or more, rising from above 0"
        )
    steps = np.arange(count) / (count - 1)
    return np.rint(lowest * np.exp(steps * math.log(highest / lowest)) * 65536) / 65536


SCALES = log_spaced()
SCALES.setflags(write=False)


def scale_index(values: Any, scales: ArrayLike = SCALES) -> NDArray[np.uint16]:
    """The table whose scale is nearest in ratio to each value; indices uint16 in the shape of `values`.

    values: finite floats of at least 0, numpy or torch of any dtype; scales: rising. Between two scales their geometric
    mean decides. Where floats differ between two machines, so may an index next to it: a decoder's indices have to come
    from integers (`IntegerNetwork`) or from the same machine. Raises ValueError for values that are negative or not
    finite, and for scales that do not rise from above 0.

    >>> scale_index([0.01, 0.5, 1.0, 1e9]).tolist()
    [0, 12, 18, 63]
    """
    x, s = as_array(values).astype(np.float64, copy=False), as_array(scales).astype(np.float64, copy=False)
    check_finite(x, "scale_index: scales")
    if x.size and x.min() < 0:
        raise ValueError(f"scale_index: a scale is {x.min()}, expected 0 or more")
    if s.ndim != 1 or not s.size or not np.isfinite(s).all() or (s <= 0).any() or (np.diff(s) < 0).any():
        raise ValueError("scale_index: the scales of the tables must be one-dimensional, finite, above 0 and rising")
    return np.searchsorted(np.sqrt(s[:-1] * s[1:]), x, side="right").astype(np.uint16)


def gaussian(scales: ArrayLike = SCALES, *, precision: int | None = None) -> TableFamily:
    """One table for each standard deviation.

    scales: rising or not, above 0, at most 1024 of them. precision: 12..15; None takes the least with which each table
    codes its distribution within 0.5 % of its entropy, escapes included (of 0.1 bit, where the entropy is lower).
    Alphabets reach so far that escapes cost less than 0.1 %.

    Raises ValueError for other scales, or scales so large that an alphabet does not fit the slots.

    >>> tables = gaussian([0.2, 1.0])
    >>> tables.precision, tables.low.tolist(), tables.size.tolist()
    (12, [-1, -4], [3, 9])
    """
    return _family(lambda t: 0.5 * math.erfc(t / math.sqrt(2)), scales, precision, "gaussian")


def laplace(scales: ArrayLike = SCALES, *, precision: int | None = None) -> TableFamily:
    """One table for each mean magnitude b of the density exp(-|x| / b) / 2b; arguments and errors as for `gaussian`."""
    return _family(lambda t: 0.5 * math.exp(-t), scales, precision, "laplace")


def logistic(scales: ArrayLike = SCALES, *, precision: int | None = None) -> TableFamily:
    """One table for each scale s of the sigmoid(x / s) of the cumulative; arguments and errors as for `gaussian`."""
    return _family(lambda t: math.exp(-t) / (1 + math.exp(-t)), scales, precision, "logistic")


def _family(survival: Survival, scales: ArrayLike, precision: int | None, name: str) -> TableFamily:
    s = as_array(scales).astype(np.float64, copy=False)
    if s.ndim != 1 or not s.size or not np.isfinite(s).all() or not (s > 0).all():
        raise ValueError(f"{name}: scales must be one-dimensional, finite and above 0")
    rows = [_masses(survival, scale, name) for scale in s.tolist()]
    return TableFamily.from_pmf(rows, [-(len(row) // 2) for row in rows], precision=precision)


def _masses(survival: Survival, scale: float, name: str) -> Float64:
    """Mass of -n..n, n the least beyond which there is at most TAIL_LOSS for each bit of entropy."""
    half = 1 - 2 * survival(0.5 / scale)
    side: list[float] = []  # of 1, 2, ...
    entropy = _bits(half)
    beyond = 2 * survival(0.5 / scale)
    while beyond > TAIL_LOSS * max(entropy, LEAST_ENTROPY):
        near, far = (survival((len(side) + offset) / scale) for offset in (0.5, 1.5))
        side.append(near - far)
        entropy += 2 * _bits(near - far)
        beyond = 2 * far
        if 2 * len(side) >= 1 << MAX_PRECISION:
            raise ValueError(f"{name}: scale {scale} needs more symbols than a table of 2**{MAX_PRECISION} slots has")
    return np.rint(np.array([*side[::-1], half, *side]) * GRID) / GRID


def _bits(mass: float) -> float:
    return -mass * math.log2(mass) if mass > 0 else 0.0
