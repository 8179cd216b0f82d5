# SPDX-License-Identifier: Apache-2.0
"""Context models along time of random integers: what training never makes, and every bound allows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.models.causal_predictor import CausalPredictor
from isthmus.kernels.context.sums import LEVELS
from tests.entropy.models.random_context import laplace_tables


def random_causal_arrays(seed: int, channels: int, size: float = 60.0, most: int = 9) -> dict[str, NDArray[Any]]:
    """Arrays of a predictor whose weights are about `size`, with up to `most` taps for a mean or scale."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, (2, channels)).astype(np.int32)
    of = np.repeat(np.tile(np.arange(channels), 2), counts.reshape(-1))
    lags = rng.integers(0, 16, len(of)).astype(np.int16)
    planes = rng.integers(0, channels, len(of)).astype(np.int16)
    lags[(lags == 0) & (planes >= of)] = 1
    rows = (100, channels)
    return {
        "tap_counts": counts,
        "tap_planes": planes,
        "tap_lags": lags,
        "tap_weights": np.rint(rng.normal(0, size, len(of))).astype(np.int16),
        "mean_shift": rng.integers(0, 15, channels).astype(np.int32),
        "mean_bias": rng.integers(-5000, 5000, rows).astype(np.int32),
        "scale_bias": rng.integers(-500, 5000, rows).astype(np.int32),
        "scale_offset": rng.integers(-600, 600, rows).astype(np.int32),
        "scale_levels": np.sort(rng.integers(0, 1100, LEVELS)).astype(np.int32),
    }


def random_causal(seed: int, channels: int, size: float = 60.0) -> CausalModel:
    """A model of Laplace tables, wider with the scale, around a random predictor."""
    predictor = CausalPredictor(**random_causal_arrays(seed, channels, size))
    return CausalModel(predictor, laplace_tables())
