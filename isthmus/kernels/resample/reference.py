# SPDX-License-Identifier: Apache-2.0
"""The definition of the resampler's sums, and the twin of its kernel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def apply_phases(source: F32, begin: int, taps: F32, q: int, first: int, target: F32) -> Any:
    """As `polyphase.apply_phases`, all of `target` at once."""
    p, width = taps.shape
    places = (first + np.arange(target.shape[1], dtype=np.int64)) * q
    at = places // p + 1 - width // 2 - begin
    rows = taps[places % p]
    sums = [np.zeros(target.shape, np.float32) for _ in range(8)]
    for j in range(width):
        sums[j % 8] += rows[:, j] * source[:, at + j]
    a, b, c, d, e, f, g, h = sums
    target[:] = ((a + e) + (c + g)) + ((b + f) + (d + h))
