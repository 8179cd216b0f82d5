# SPDX-License-Identifier: Apache-2.0
"""Distances between sounds."""

import math

import numpy as np


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    """dB below the peak of full scale (1), over all samples of float32 [C, T]; infinite if they are equal.

    Raises ValueError for two sounds of different shapes.
    """
    if original.shape != decoded.shape:
        raise ValueError(f"expected two sounds of one shape; got {list(original.shape)} and {list(decoded.shape)}")
    error = float(np.square(original.astype(np.float64) - decoded).mean()) if original.size else 0.0
    return -10 * math.log10(error) if error else math.inf
