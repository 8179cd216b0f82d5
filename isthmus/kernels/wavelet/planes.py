# SPDX-License-Identifier: Apache-2.0
"""Where the bands of a strip lie: one flat float32 array of polyphase planes (see `lifting`).

Plane (c * Px + px) * Py + py starts at its number times `plane_stride(rows * width)` and holds rows of `width` values,
one after another.
"""

import threading

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from isthmus.arrays.types import Float32

MOST_KEPT = 1 << 20  # values of a strip that a thread keeps: 4 MiB
_kept = threading.local()


@register_jitable
def plane_stride(size: int) -> int:
    """Elements from one plane to the next: whole cache lines, never near a multiple of 4 KiB, where caches clash.

    Plain Python where Python asks for a number, compiled into the kernels that do.
    """
    stride = -(-size // 16) * 16
    while not 80 <= stride % 1024 <= 944:
        stride += 16
    return stride


def band_view(planes: Float32, channels: int, levels_y: int, levels_x: int, positions: int) -> Float32:
    """The planes of a strip in band order: a view [C, 2, 2, ..., positions], the first split the leftmost axis of 2."""
    x = [levels_x - level for level in range(levels_x)]  # bit `level` of a plane's number is its axis from the right
    y = [levels_x + levels_y - level for level in range(levels_y)]
    digits = [axis for pair in zip(x, y, strict=True) for axis in pair] if levels_y else x
    shape = (channels, *(2,) * (levels_x + levels_y), -1)
    return planes.reshape(shape)[..., :positions].transpose(0, *digits, 1 + levels_x + levels_y)


def band_offsets(channels: int, levels: int, stride: int) -> NDArray[np.int64]:
    """Where each band of a two-dimensional strip begins, in band order: int64 [C * 4**levels]."""
    numbers = np.arange(channels << (2 * levels), dtype=np.int64) * stride
    return np.ascontiguousarray(band_view(numbers, channels, levels, levels, 1).reshape(-1))  # type: ignore[arg-type]


def empty_planes(count: int, positions: int) -> tuple[Float32, int]:
    """An uninitialised strip that begins on a cache line, and its stride: a thread's last one, where it was small.

    Fresh memory costs a fault a page, more than what is computed in it. A thread MUST be done with one before the next.
    """
    stride = plane_stride(positions)
    size = count * stride + 16
    memory: Float32 | None = getattr(_kept, "memory", None)
    if memory is None or len(memory) < size:
        memory = np.empty(size, np.float32)
        if size <= MOST_KEPT:
            _kept.memory = memory
    start = (-memory.ctypes.data // 4) % 16
    return memory[start : start + count * stride], stride
