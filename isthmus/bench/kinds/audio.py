# SPDX-License-Identifier: Apache-2.0
"""Sound: kbit/s against PSNR."""

from typing import Any

import numpy as np

from isthmus.bench.medium import Measure, Medium
from isthmus.bench.metrics.audio import psnr


def rate(size: int, sound: np.ndarray, facts: dict[str, Any]) -> float:
    """kbit/s of float32 [C, T]."""
    return 8e-3 * size * float(facts["sample_rate"]) / max(1, sound.shape[1])


MEDIUM = Medium(
    kind="audio",
    unit="kbit/s",
    amount_unit="MSamples",
    measures={"psnr": Measure(psnr, "PSNR (dB below full scale)")},
    rate=rate,
    amount=lambda sound: sound.size / 1e6,
    size=lambda sound: f"{sound.shape[1]} samples",
    prepare=lambda sound: sound,
    peers=lambda: ([], []),
    anchor="",
)
