# SPDX-License-Identifier: Apache-2.0
"""Synthesis of large images tile by tile: the network's memory is bounded, and tiles leave no trace in the pixels."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from isthmus.kernels.wavelet import image as transform

MAX_TILE = 1 << 17  # latent positions that the network sees at once: bounds its memory to about 0.8 GB
TILE_ROWS, TILE_COLUMNS = 96, 256  # latent positions of a tile without its halo: 0.35 GB, and 1.8 times the work


def synthesize_in_tiles(
    y: Tensor,
    network: Callable[[Tensor], NDArray[np.float32]],
    size: tuple[int, int],
    levels: int,
    threads: int,
    reach: int,
    count: int,
) -> NDArray[np.uint8]:
    """uint8 [C, H, W] of `size` from latents y [c, h, w]; network: latents to bands [count, h, w], float32.

    reach: latent positions that an output of the network depends on to each side. Tiles carry so many around them, and
    are fixed, so the result depends neither on them nor on threads.
    """
    rows, columns = y.shape[1:]
    if rows * columns <= MAX_TILE:
        return transform.synthesize_image(network(y), *size, levels, threads=threads)

    def strip(first: int, last: int) -> NDArray[np.float32]:
        """Bands of latent rows first..last."""
        top = max(0, first - reach)
        bands = np.empty((count, last - first, columns), np.float32)
        for left in range(0, columns, TILE_COLUMNS):
            right = min(columns, left + TILE_COLUMNS)
            begin = max(0, left - reach)
            tile = network(y[:, top : last + reach, begin : right + reach])
            bands[:, :, left:right] = tile[:, first - top : last - top, left - begin : right - begin]
        return bands

    return transform.synthesize_image(strip, *size, levels, threads=1, strip_rows=TILE_ROWS)
