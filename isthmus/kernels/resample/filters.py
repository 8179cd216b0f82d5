# SPDX-License-Identifier: Apache-2.0
"""Filters between two sample rates: a sinc below both Nyquist frequencies in a Kaiser window, one filter a phase.

Smith and Gossett, "A flexible sampling-rate conversion method" (ICASSP 1984), for ratios of integers:

    y[m] = sum over j of taps[m q mod p, j] x[floor(m q / p) + 1 - n / 2 + j],     p / q = rate after / rate before

Up to 0.935 of the lower Nyquist frequency all passes, from 0.995 on it is 90 dB down.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

CROSSINGS = 96  # zeros of the sinc to each side
CUTOFF = 0.965  # of the lower Nyquist frequency
MOST = 1 << 23  # taps of a table: 32 MB
BETA = 9.0  # of the window: 90 dB


def ratio(before: int, after: int) -> tuple[int, int]:
    """p and q: for every q samples before there are p after."""
    divisor = gcd(before, after)
    return after // divisor, before // divisor


def _half(p: int, q: int) -> int:
    half = int(np.ceil(CROSSINGS / min(1.0, p / q)))
    return half + -half % 4


def has_filters(before: int, after: int) -> bool:
    """Whether two rates have a ratio that is short enough, both ways, for a table of all phases."""
    p, q = ratio(before, after)
    return p == q or max(p * 2 * _half(p, q), q * 2 * _half(q, p)) <= MOST


@lru_cache(maxsize=4)
def phase_filters(before: int, after: int) -> NDArray[np.float32]:
    """Taps float32 [p, n], n a multiple of 8, each row of sum 1."""
    p, q = ratio(before, after)
    cutoff = CUTOFF * min(1.0, p / q)
    half = _half(p, q)
    taps = np.empty((p, 2 * half), np.float32)
    j = np.arange(1 - half, half + 1)
    some = max(1, (1 << 18) // len(j))
    for first in range(0, p, some):
        distance = j - np.arange(first, min(p, first + some))[:, None] / p
        window = np.i0(BETA * np.sqrt(np.maximum(0, 1 - (distance / half) ** 2)))
        rows = np.sinc(cutoff * distance) * window
        taps[first : first + some] = rows / rows.sum(1, keepdims=True)
    return taps
