# SPDX-License-Identifier: Apache-2.0
"""Context models of random integers: what training never makes, and every bound allows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy import TableFamily
from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.context_predictor import ContextPredictor
from isthmus.entropy.models.context_tables import TABLES
from isthmus.kernels.context.sums import LEVELS, available


def random_arrays(seed: int, channels: int, size: float = 60.0) -> dict[str, NDArray[Any]]:
    """Arrays of a predictor whose weights are about `size`."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> NDArray[np.int16]:
        return np.rint(rng.normal(0, size, shape) * (rng.random(shape) < 0.5)).astype(np.int16)

    levels = (100, channels, 4)
    pairs = channels * (channels - 1) // 2
    return {
        "mean_own": weights(channels, 4, 25) * available().astype(np.int16),
        "mean_earlier": weights(4, pairs, 9),
        "mean_shift": rng.integers(0, 15, channels).astype(np.int32),
        "mean_bias": rng.integers(-5000, 5000, levels).astype(np.int32),
        "scale_own": np.abs(weights(channels, 4, 25)) * available().astype(np.int16),
        "scale_earlier": weights(4, pairs, 9),
        "scale_bias": rng.integers(-500, 5000, levels).astype(np.int32),
        "scale_offset": rng.integers(-600, 600, levels).astype(np.int32),
        "scale_levels": np.sort(rng.integers(0, 1100, LEVELS)).astype(np.int32),
    }


def laplace_tables() -> TableFamily:
    """Of contexts: wider with the scale, and one of image offsets."""
    ramp = np.arange(-200, 201)
    rows = [np.exp(-np.abs(ramp) / (0.1 * 1.1 ** (k // 4))) for k in range(TABLES)]
    rows.append(np.exp(-np.abs(ramp) / 2.0))
    return TableFamily.from_counts(rows, [-200] * (TABLES + 1))


def random_model(seed: int, channels: int, size: float = 60.0) -> ContextModel:
    """A model of Laplace tables, wider with the scale, around a random predictor."""
    predictor = ContextPredictor(**random_arrays(seed, channels, size))
    return ContextModel(predictor, laplace_tables())


def random_planes(seed: int, channels: int, height: int, width: int, scale: float) -> NDArray[np.int16]:
    """Laplacian integers."""
    rng = np.random.default_rng(seed)
    values = np.rint(rng.laplace(0, scale, (channels, height, width)))
    return np.clip(values, -(1 << 15), (1 << 15) - 1).astype(np.int16)
