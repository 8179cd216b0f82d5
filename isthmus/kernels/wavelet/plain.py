# SPDX-License-Identifier: Apache-2.0
"""The kernels of `packets` and `linear` in numpy, bit for bit, for `tier`: each operation in the same order."""

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Float32, Int16, UInt8
from isthmus.kernels.wavelet.planes import band_view
from isthmus.kernels.wavelet.reference import interleave_digits, merge, split

SAMPLE = 5e-8  # seconds that a sample takes, split or merged
PRODUCT = 5e-10  # and a product of a linear map


def _mirror(start: int, count: int, n: int) -> NDArray[np.int64]:
    """Indices start .. start + count, those past the end reflected as the kernel does."""
    index = np.arange(start, start + count) % max(1, 2 * (n - 1))
    return np.minimum(index, 2 * (n - 1) - index) if n > 1 else np.zeros(count, np.int64)


def _digits(channels: int, levels_y: int, levels_x: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape [C, x digits, y digits] of bands, and the axes that bring it and [h, w] behind it to band order."""
    shape = (channels, *(2,) * (levels_x + levels_y))
    return shape, interleave_digits(levels_x) if levels_y else tuple(range(levels_x + 3))


def split_strip(
    image: NDArray[np.uint8] | Float32, first: int, rows: int, width: int, levels_y: int, levels_x: int,
    center: np.float32, scales: Float32, keep: tuple[int, int], planes: Float32, stride: int,
) -> None:  # fmt: skip
    """As `packets.split_strip`; `keep` and `stride` follow from the rest."""
    height, channels, samples = image.shape
    lines = _mirror(first << levels_y, rows << levels_y, height)
    columns = _mirror(0, width << levels_x, samples)
    x = image[lines].transpose(1, 0, 2)[..., columns].astype(np.float32) - center
    x = split(x, levels_x, "symmetric")  # [C, H, X, w]
    x = split(x.transpose(0, 2, 3, 1), levels_y, "symmetric")  # [C, X, w, Y, h]
    shape, axes = _digits(channels, levels_y, levels_x)
    bands = x.transpose(0, 1, 3, 4, 2).reshape(*shape, rows, width).transpose(axes)
    view = band_view(planes, channels, levels_y, levels_x, rows * width)
    np.multiply(bands.reshape(view.shape), scales.reshape(*view.shape[1:-1], 1), out=view)


def merge_strip(
    planes: Float32, stride: int, rows: int, width: int, levels_y: int, levels_x: int, skip: int, center: np.float32,
    clip: bool, image: UInt8 | Float32,
) -> None:  # fmt: skip
    """As `packets.merge_strip`, but that `planes` stay."""
    height, channels, samples = image.shape
    shape, axes = _digits(channels, levels_y, levels_x)
    view = band_view(planes, channels, levels_y, levels_x, rows * width)
    digits = view.reshape(*shape, rows, width).transpose(np.argsort(axes))
    halves = digits.reshape(channels, 1 << levels_x, 1 << levels_y, rows, width)  # [C, X, Y, h, w]
    with np.errstate(over="ignore", invalid="ignore"):  # as the kernel is silent
        x = merge(halves.transpose(0, 1, 4, 2, 3), levels_y, "symmetric").transpose(0, 3, 1, 2)  # [C, H, X, w]
        x = merge(x, levels_x, "symmetric")
        x = x[:, skip << levels_y :][:, :height, :samples].transpose(1, 0, 2) + center
    if clip:
        x = np.where(x > 0, np.minimum(x, np.float32(255)), np.float32(0)) + np.float32(0.5)
    image[:] = x


def _sums(
    source: Float32, offsets: NDArray[np.int64], weight: Float32, bias: Float32, gain: Float32, count: int, outputs: int
) -> Float32:
    """The values of `linear`: float32 [outputs, count]."""
    sums = np.repeat(bias[:outputs, None], count, axis=1)
    product = np.empty_like(sums)
    for k, start in enumerate(offsets.tolist()):
        np.multiply(weight[:outputs, k, None], source[start : start + count], out=product)
        sums += product
    sums *= gain[:outputs, None]
    return sums


def map_bands(
    source: Float32, offsets: NDArray[np.int64], weight: Float32, bias: Float32, gain: Float32, count: int,
    target: Float32, targets: NDArray[np.int64],
) -> None:  # fmt: skip
    """As `linear.map_bands`."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = _sums(source, offsets, weight, bias, gain, count, len(targets))
    for row, start in zip(values, targets.tolist(), strict=True):
        target[start : start + count] = row


def quantize_bands(
    source: Float32, offsets: NDArray[np.int64], weight: Float32, bias: Float32, gain: Float32, count: int,
    offset: np.float32, target: Int16, targets: NDArray[np.int64],
) -> None:  # fmt: skip
    """As `linear.quantize_bands`."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = _sums(source, offsets, weight, bias, gain, count, len(targets))
        found = np.minimum(np.abs(values) + offset, np.float32(32768)).astype(np.int32)
    signed = np.where(values < 0, -found, np.minimum(found, 32767)).astype(np.int16)
    for row, start in zip(signed, targets.tolist(), strict=True):
        target[start : start + count] = row
