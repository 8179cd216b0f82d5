# SPDX-License-Identifier: Apache-2.0
"""About what factorized tables would take, from a few positions: whether it is worth to ask more closely."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Int16
from isthmus.entropy.models.factorized import FactorizedModel

JUDGED = 256  # positions of a plane


def about_bytes(model: FactorizedModel, planes: Int16) -> float:
    """`least_bytes` of planes [c, h, w], judged by some positions of large ones: within a few hundredths."""
    count = planes[0].size
    if count <= JUDGED:
        return model.least_bytes(planes)
    return model.least_bytes(planes.reshape(len(planes), count)[:, _spread(count)]) * count / JUDGED


@lru_cache(maxsize=64)
def _spread(count: int) -> NDArray[np.int64]:
    """JUDGED of so many places, which keep no step that a pattern could have: multiples of the golden ratio."""
    return np.arange(JUDGED) * 2654435769 % (1 << 32) * count >> 32
