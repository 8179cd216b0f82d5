# SPDX-License-Identifier: Apache-2.0
"""Integer networks of random integers, with shifts that leave outputs spread over the tables."""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy import IntegerNetwork, TableFamily
from isthmus.entropy.models.integer_layer import IntegerLayer


@cache
def laplace_tables(count: int) -> TableFamily:
    """Tables that grow wider with their index."""
    ramp = np.abs(np.arange(-40, 41))
    return TableFamily.from_counts([np.exp(-ramp / (0.2 * 1.2 ** (k % 32))) for k in range(count)], [-40] * count)


def random_layer(
    rng: np.random.Generator, inputs: int, outputs: int, kernel: int = 3, groups: int = 1, shift: int | None = None
) -> IntegerLayer:
    """shift None: one that leaves outputs about as large as inputs."""
    weight = rng.integers(-128, 128, (outputs, inputs // groups, kernel, kernel), np.int8)
    if shift is None:
        shift = int(math.log2(128 * math.sqrt(weight[0].size)))
    room = (1 << 24) - 1 - 128 * 127 * weight[0].size - (1 << shift >> 1)
    most = min(room, 20 << shift)
    return IntegerLayer(weight, rng.integers(-most, most, outputs, np.int32, endpoint=True), shift, groups)


def random_network(seed: int, widths: Sequence[int], kernels: Sequence[int], tables: int = 16) -> IntegerNetwork:
    rng = np.random.default_rng(seed)
    layers = [random_layer(rng, *sides, k) for sides, k in zip(pairwise(widths), kernels, strict=True)]
    return IntegerNetwork(layers, laplace_tables(tables))


def random_input(seed: int, *shape: int, dtype: type = np.int16) -> NDArray[np.signedinteger]:
    """Integers of which some are beyond -127..127, as far as the dtype goes."""
    rng = np.random.default_rng(seed)
    values = np.clip(rng.laplace(0, 60, shape), np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    far = rng.random(shape) < 0.05
    values[far] = rng.choice([np.iinfo(dtype).min, np.iinfo(dtype).max], far.sum())
    return values
