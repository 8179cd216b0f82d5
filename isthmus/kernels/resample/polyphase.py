# SPDX-License-Identifier: Apache-2.0
"""The sums of a resampler, eight at a time in a fixed order, so that a sample depends neither on blocks nor threads."""

import numpy as np

from isthmus.kernels.compiled import kernel


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
            row = taps[place % p]
            at = place // p + 1 - width // 2 - begin
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
            for j in range(0, width, 8):
                s0 += row[j] * x[at + j]
                s1 += row[j + 1] * x[at + j + 1]
                s2 += row[j + 2] * x[at + j + 2]
                s3 += row[j + 3] * x[at + j + 3]
                s4 += row[j + 4] * x[at + j + 4]
                s5 += row[j + 5] * x[at + j + 5]
                s6 += row[j + 6] * x[at + j + 6]
                s7 += row[j + 7] * x[at + j + 7]
            target[c, i] = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
