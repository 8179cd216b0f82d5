# SPDX-License-Identifier: Apache-2.0
"""PESQ (ITU-T P.862.2, wideband) where the package pesq is installed: of speech, and nothing that isthmus needs."""

import numpy as np

from isthmus.bench.medium import Measure
from isthmus.codecs.walloc.audio.unit import coded_rate
from isthmus.kernels.resample.resampler import resample

RATE = 16_000


def pesq_measures() -> dict[str, Measure]:
    """The measure by name, or nothing."""
    try:
        from pesq import PesqError, pesq
    except ImportError:
        return {}

    def wideband(original: np.ndarray, decoded: np.ndarray, *, sample_rate: int) -> float:
        rate = coded_rate(sample_rate)  # at which both are
        a, b = (resample(x.mean(0, keepdims=True), rate, RATE)[0] for x in (original, decoded))
        try:
            return float(pesq(RATE, a, b, "wb"))
        except PesqError:  # nothing that sounds like speech
            return float("nan")

    return {"pesq": Measure(wideband, "PESQ, wideband (1 to 4.6)", facts=("sample_rate",))}
