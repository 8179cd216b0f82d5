# SPDX-License-Identifier: Apache-2.0
"""Arrays of numbers as callers have them, numpy, torch or sequences, to numpy; floats to integers that hold them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Int32


def as_array(values: Any) -> NDArray[Any]:
    """numpy of numpy, sequences, or a torch tensor on any device, with or without a gradient, any strides.

    Floats that numpy has not (bfloat16, 8 bits) become float32, without loss.
    """
    if not hasattr(values, "detach"):
        return np.asarray(values)
    tensor = values.detach().cpu()
    try:
        return np.asarray(tensor)
    except TypeError:
        return np.asarray(tensor.float())


def rounded(values: NDArray[Any], what: str) -> Int32:
    """Floats to the nearest int32, halves to even.

    Raises ValueError, beginning with `what`, for NaN, infinities and what 32 bits do not hold.
    """
    nearest = np.rint(values)
    wrong = ~((nearest >= -(2.0**31)) & (nearest < 2.0**31))  # NaN is neither
    if wrong.any():
        raise ValueError(
            f"{what}: {np.asarray(values)[wrong].flat[0]} among {wrong.sum()} of {wrong.size} values that are not "
            f"finite or do not fit 32-bit integers"
        )
    return nearest.astype(np.int32)


def check_finite(values: NDArray[Any], what: str) -> None:
    """Raises ValueError, beginning with `what`, for NaN and infinities."""
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise ValueError(f"{what}: {np.asarray(values)[wrong].flat[0]} among {wrong.size} values, expected finite ones")
