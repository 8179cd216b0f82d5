# SPDX-License-Identifier: Apache-2.0
"""The sums of a resampler, eight at a time in a fixed order, so that a sample depends neither on blocks nor threads."""

import numpy as np

from isthmus.kernels.compiled import kernel

ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN = (np.uint64(k) for k in range(1, 8))


@kernel
def apply_phases(source, begin, taps, q, first, target):  # type: ignore[no-untyped-def]
    """Samples first, first + 1, ... after, float32 [C, n] `target`, of those before.

    source: float32 [C, m], the samples from `begin` on. taps: float32 [p, n], n a multiple of 8.
    """
    p, width = taps.shape
    for c in range(len(source)):
        x = source[c]
        for i in range(target.shape[1]):
            place = (first + i) * q
            at = place // p + 1 - width // 2 - begin
            row, near = taps[place % p], x[at : at + width]
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
            for k in range(width // 8):
                j = np.uint64(8 * k)  # unsigned, as numba asks of other numbers whether they count from the end
                s0 += row[j] * near[j]
                s1 += row[j + ONE] * near[j + ONE]
                s2 += row[j + TWO] * near[j + TWO]
                s3 += row[j + THREE] * near[j + THREE]
                s4 += row[j + FOUR] * near[j + FOUR]
                s5 += row[j + FIVE] * near[j + FIVE]
                s6 += row[j + SIX] * near[j + SIX]
                s7 += row[j + SEVEN] * near[j + SEVEN]
            target[c, i] = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
