# SPDX-License-Identifier: Apache-2.0
"""The wavelet packet transform of `reference` on the CPU, equal to it bit for bit.

Strips (see `planes`) need a halo. A low band at level 1 reads samples 2i - 4 .. 2i + 4 and a high band
2i - 2 .. 2i + 4, so bands [a, b) need samples [2a - 4, 2b + 3), and over any number of levels groups of 2**levels
samples [a - 4, b + 3). Synthesis of sample pairs [a, b) needs bands [a - 2, b + 2) at level 1, and each further level
needs half of that distance, rounded up, plus 2: at most 4. What lies further away cannot reach the kept part, so a
strip may treat its own ends as borders of the image; periodization is the same kernel on lines continued by the halo.
"""

from collections.abc import Iterator

import numpy as np

from isthmus.arrays.types import Float32
from isthmus.kernels import tier
from isthmus.kernels.compiled import kernel
from isthmus.kernels.native.read_only import read_only
from isthmus.kernels.wavelet import plain
from isthmus.kernels.wavelet.lifting import (
    copy_run,
    merge_columns,
    merge_rows,
    split_columns,
    split_rows,
    split_short_rows,
)
from isthmus.kernels.wavelet.planes import band_view, empty_planes, plane_stride
from isthmus.kernels.wavelet.reference import Mode, band_scales, check_packet, inverse_scales

ANALYSIS_HALO = (4, 3)  # groups of 2**levels samples before and after
SYNTHESIS_HALO = (4, 4)  # band positions before and after
SHORT = 64  # values of a row in a plane, up to which all rows of it are lifted at once
BLOCK = 6400  # samples split along x at once: 25 KiB, most of a 32 KiB L1 cache
LINE_SAMPLES = 1 << 18  # samples of a one-dimensional signal in one strip, so that it stays in the L2 cache


@kernel
def _mirror(index, n):  # type: ignore[no-untyped-def]
    """Whole-sample symmetric reflection of an index past the end, of period 2 (n - 1); one sample is repeated."""
    if n == 1:
        return 0
    index %= 2 * (n - 1)
    return min(index, 2 * (n - 1) - index)


@kernel
def _load_line(buffer, base, stride, levels, width, line, center):  # type: ignore[no-untyped-def]
    """Split samples, less `center`, into polyphase planes of `width` values; reflection fills up the last ones."""
    period = 1 << levels
    samples = len(line)
    for phase in range(period):
        start = base + phase * stride
        plane = buffer[start : start + width]
        source = line[phase:]
        full = min(width, (samples - phase + period - 1) // period)
        for i in range(full):
            plane[i] = np.float32(source[period * i]) - center
        for i in range(max(full, 0), width):
            plane[i] = np.float32(line[_mirror(period * i + phase, samples)]) - center


@kernel
def _store_line(line, buffer, base, stride, levels, center, clip):  # type: ignore[no-untyped-def]
    """The inverse of `_load_line`, cropped; `clip` rounds to the nearest of 0..255, ties up, and NaN to 0."""
    period = 1 << levels
    samples = len(line)
    for phase in range(min(period, samples)):
        n = (samples - phase + period - 1) // period
        start = base + phase * stride
        plane = buffer[start : start + n]
        target = line[phase:]
        if clip:
            for i in range(n):
                value = plane[i] + center
                value = value if value > np.float32(0) else np.float32(0)
                target[period * i] = np.int32(min(value, np.float32(255)) + np.float32(0.5))
        else:
            for i in range(n):
                target[period * i] = plane[i] + center


@kernel
def row_offsets(rows, levels, width, stride):  # type: ignore[no-untyped-def]
    """Where row y of a strip of rows * 2**levels begins, from the first plane along y."""
    offsets = np.empty(rows << levels, np.int64)
    for y in range(rows << levels):
        offsets[y] = (y & ((1 << levels) - 1)) * stride + (y >> levels) * width
    return offsets


@kernel
def split_strip(  # type: ignore[no-untyped-def]
    image, first, rows, width, levels_y, levels_x, center, scales, keep, planes, stride
):
    """Fill `planes` with the bands of groups `first` .. `first + rows` of `image` [H, C, W], reflected past its end.

    `keep` = (from, to) are the rows of the strip that are multiplied by `scales`, one a plane of a channel.
    """
    height, channels, _ = image.shape
    across, down = 1 << levels_x, 1 << levels_y
    offsets = row_offsets(rows, levels_y, width, stride)
    lines = max(1, min(rows * down, BLOCK // (across * (width + 1))))
    pitch = plane_stride(lines * (width + 1) + 1)
    buffer = np.zeros(across * pitch + 16, np.float32)
    for top in range(0, rows * down, lines):
        count = min(lines, rows * down - top)
        for channel in range(channels):
            for b in range(count):
                line = image[_mirror(first * down + top + b, height), channel]
                _load_line(buffer, 16 + b * (width + 1), pitch, levels_x, width, line, center)
            split_columns(buffer, 16, pitch, levels_x, width, count)
            for phase in range(across):
                base = (channel * across + phase) * down * stride
                for b in range(count):
                    source, target = 16 + phase * pitch + b * (width + 1), base + offsets[top + b]
                    copy_run(planes, target, buffer, source, width)
    short = width <= SHORT
    space = plane_stride((rows + 2) * width)
    room = np.empty(down * space if short else 0, np.float32)
    for plane in range(0, channels * across * down, down):
        if short:
            for y in range(down):
                copy_run(room, width + y * space, planes, (plane + y) * stride, rows * width)
            split_short_rows(room, width, space, levels_y, width, rows)
        else:
            split_rows(planes, offsets, levels_y, plane * stride, width)
        for y in range(down):
            begin, n = (plane + y) * stride + keep[0] * width, (keep[1] - keep[0]) * width
            scale = scales[(plane + y) % len(scales)]  # by the count of high splits, the same in either order of bands
            band = planes[begin : begin + n]
            if short:
                source = room[width + y * space + keep[0] * width :]
                for i in range(n):
                    band[i] = source[i] * scale
            else:
                for i in range(n):
                    band[i] = band[i] * scale


@kernel
def merge_strip(  # type: ignore[no-untyped-def]
    planes, stride, rows, width, levels_y, levels_x, skip, center, clip, image
):
    """Samples of groups from `skip` on into `image` [H, C, W], from scaled bands in `planes`, which are overwritten."""
    height, channels, _ = image.shape
    across, down = 1 << levels_x, 1 << levels_y
    offsets = row_offsets(rows, levels_y, width, stride)
    for plane in range(0, channels * across * down, down):
        merge_rows(planes, offsets, levels_y, plane * stride, width)
    lines = max(1, min(height, BLOCK // (across * (width + 1))))
    pitch = plane_stride(lines * (width + 1) + 1)
    buffer = np.zeros(across * pitch + 16, np.float32)
    for top in range(0, height, lines):
        count = min(lines, height - top)
        for channel in range(channels):
            for phase in range(across):
                base = (channel * across + phase) * down * stride
                for b in range(count):
                    target, source = 16 + phase * pitch + b * (width + 1), base + offsets[skip * down + top + b]
                    copy_run(buffer, target, planes, source, width)
            merge_columns(buffer, 16, pitch, levels_x, width, count)
            for b in range(count):
                line = image[top + b, channel]
                _store_line(line, buffer, 16 + b * (width + 1), pitch, levels_x, center, clip)


def _line_strips(width: int, levels: int, axes: int, halo: tuple[int, int]) -> Iterator[tuple[slice, slice, slice]]:
    """Pieces of a long one-dimensional signal: positions kept, positions read, where the first lie in the second."""
    length = max(4, LINE_SAMPLES >> levels) if axes == 1 else width
    for first in range(0, width, length):
        last = min(width, first + length)
        low, high = max(0, first - halo[0]), min(width, last + halo[1])
        yield slice(first, last), slice(low, high), slice(first - low, last - low)


def analyze_packet(x: Float32, levels: int, mode: Mode = "symmetric", gain: float = 1.0) -> Float32:
    """As `reference.analyze_packet`, bit for bit; any strides."""
    x = np.asarray(x, np.float32)
    check_packet(x.shape, levels, mode)
    if mode == "periodization":
        before, after = ANALYSIS_HALO
        for axis in range(1, x.ndim):
            x = np.take(x, np.arange(-before << levels, x.shape[axis] + (after << levels)) % x.shape[axis], axis=axis)
        inner = (slice(None), *(slice(before, -after),) * (x.ndim - 1))
        return np.ascontiguousarray(analyze_packet(x, levels, "symmetric", gain)[inner])
    channels, axes = x.shape[0], x.ndim - 1
    levels_y, rows = (levels, x.shape[1] >> levels) if axes == 2 else (0, 1)
    lines = x.transpose(1, 0, 2) if axes == 2 else x[None]
    scales = band_scales(levels, axes, gain)
    bands = np.empty((channels, *(2,) * (levels_y + levels), rows, x.shape[-1] >> levels), np.float32)
    split = tier.pick(split_strip, plain.split_strip, x.size * plain.SAMPLE)
    for kept, read, inside in _line_strips(bands.shape[-1], levels, axes, ANALYSIS_HALO):
        width = read.stop - read.start
        planes, stride = empty_planes(channels * len(scales), rows * width)
        part = read_only(lines[..., read.start << levels : read.stop << levels])
        split(part, 0, rows, width, levels_y, levels, np.float32(0), scales, (0, rows), planes, stride)
        view = band_view(planes, channels, levels_y, levels, rows * width)
        bands[..., kept] = view.reshape(*view.shape[:-1], rows, width)[..., inside]
    return bands.reshape(-1, *(n >> levels for n in x.shape[1:]))


def synthesize_packet(bands: Float32, levels: int, mode: Mode = "symmetric", gain: float = 1.0) -> Float32:
    """As `reference.synthesize_packet`, bit for bit; any strides."""
    bands = np.asarray(bands, np.float32)
    axes = bands.ndim - 1
    check_packet(bands.shape, levels, mode, 1 << (levels * axes))
    if mode == "periodization":
        before, after = SYNTHESIS_HALO
        for axis in range(1, bands.ndim):
            n = bands.shape[axis]
            bands = np.take(bands, np.arange(-before, n + after) % n, axis=axis)
        inner = (slice(None), *(slice(before << levels, -after << levels),) * axes)
        return np.ascontiguousarray(synthesize_packet(bands, levels, "symmetric", gain)[inner])
    scales = inverse_scales(levels, axes, gain)
    channels = bands.shape[0] // len(scales)
    levels_y, rows = (levels, bands.shape[1]) if axes == 2 else (0, 1)
    digits = bands.reshape(channels, *(2,) * (levels_y + levels), rows, bands.shape[-1])
    x = np.empty((channels, rows << levels_y, bands.shape[-1] << levels), np.float32)
    merge = tier.pick(merge_strip, plain.merge_strip, x.size * plain.SAMPLE)
    for kept, read, inside in _line_strips(bands.shape[-1], levels, axes, SYNTHESIS_HALO):
        width = read.stop - read.start
        planes, stride = empty_planes(channels * len(scales), rows * width)
        view = band_view(planes, channels, levels_y, levels, rows * width)
        part = digits[..., read].reshape(view.shape)
        np.multiply(part, scales.reshape(*view.shape[1:-1], 1), out=view)
        samples = np.empty((x.shape[1], channels, width << levels), np.float32)
        merge(planes, stride, rows, width, levels_y, levels, 0, np.float32(0), False, samples)
        x[..., kept.start << levels : kept.stop << levels] = samples.transpose(1, 0, 2)[
            ..., inside.start << levels : inside.stop << levels
        ]
    return x if axes == 2 else x[:, 0]
