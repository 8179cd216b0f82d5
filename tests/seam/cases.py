# SPDX-License-Identifier: Apache-2.0
"""What the shared tests run the toy family on."""

import numpy as np

from tests.codecs.case import Case


def sound(channels: int, count: int) -> np.ndarray:
    """A few tones that fade: float32 [channels, count]."""
    t = np.arange(count) / 8000
    tones = [np.sin(2 * np.pi * 220 * (c + 1) * t) * np.exp(-3 * t) for c in range(channels)]
    return (0.8 * np.array(tones)).astype(np.float32)


CASES = [
    Case("toy-mono", "toy", lambda: sound(1, 300), {"sample_rate": 8000}),
    Case("toy-stereo", "toy", lambda: sound(2, 111), {"sample_rate": 8000, "bits": 10}),
    Case("toy-one-sample", "toy", lambda: sound(1, 1), {"bits": 16}),
    Case("toy-empty", "toy", lambda: sound(3, 0), {}),
]
