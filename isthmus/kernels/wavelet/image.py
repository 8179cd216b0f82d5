# SPDX-License-Identifier: Apache-2.0
"""From 8-bit images to quantised latents and back, in strips of rows on our own threads.

Sample values run from -1 to 1: (u8 - 127.5) / 127.5. The transform works on u8 - 127.5, which is exact; the division
is folded into the scale of the bands (`gain` of `band_scales`), so the bands have one definition:
`analyze_packet(float32(u8) - 127.5, levels, gain=1 / 127.5)`. Backwards, samples are bands' synthesis with gain 127.5,
plus 127.5, clipped to 0..255 and rounded to nearest, ties up.

An image whose sides are not multiples of 2**levels is continued at the right and below by whole-sample reflection
(period 2 (n - 1); a single sample is repeated) and cropped after synthesis.

A strip recomputes its halo (`ANALYSIS_HALO`, `SYNTHESIS_HALO` in `packets`); the results are the same bits for
every `strip_rows` and `threads`, and no more than the strips at work is held in float32.
"""

from collections.abc import Callable

import numpy as np

from isthmus.arrays.types import Float32, Int16, UInt8
from isthmus.kernels import threads as pool
from isthmus.kernels import tier
from isthmus.kernels.native.read_only import read_only
from isthmus.kernels.wavelet import plain
from isthmus.kernels.wavelet.linear import map_bands, pad_offsets, pad_weights, quantize_bands
from isthmus.kernels.wavelet.packets import ANALYSIS_HALO, SYNTHESIS_HALO, merge_strip, split_strip
from isthmus.kernels.wavelet.planes import band_offsets, band_view, empty_planes
from isthmus.kernels.wavelet.reference import band_scales, inverse_scales

CENTER = np.float32(127.5)
STRIP_BYTES = 128 << 20  # float32 planes of all strips at work together
MOST_ROWS = 64  # latent rows of a strip: seven of halo cost 11 % more work
LEAST_ROWS = 8

BandSource = Callable[[int, int], Float32]
Kernel = Callable[..., None]


def latent_size(height: int, width: int, levels: int) -> tuple[int, int]:
    """Rows and columns of the bands of an image."""
    return -(-height >> levels), -(-width >> levels)


def plan_strips(rows: int, row_bytes: int, threads: int, strip_rows: int | None = None) -> list[tuple[int, int]]:
    """Strips (first row, rows) over `rows` latent rows of `row_bytes` float32 bytes each.

    Without `strip_rows`: as few strips as memory allows, but one for every thread, and equally long ones.
    """
    if threads < 1 or (strip_rows is not None and strip_rows < 1):
        raise ValueError(f"got threads={threads}, strip_rows={strip_rows}; expected 1 or more")
    if strip_rows is None:
        affordable = STRIP_BYTES // (threads * row_bytes) - sum(SYNTHESIS_HALO)
        count = -(-rows // min(MOST_ROWS, max(LEAST_ROWS, affordable)))
        even = -(-count // threads) * threads
        count = even if rows >= even * LEAST_ROWS else max(count, rows // LEAST_ROWS, 1)
        strip_rows = -(-rows // count)
    return [(first, min(strip_rows, rows - first)) for first in range(0, rows, strip_rows)]


def _lines(image: UInt8) -> UInt8:
    """[C, H, W] of any strides as the [H, C, W] of the kernels."""
    if image.dtype != np.uint8 or image.ndim != 3 or min(image.shape) < 1:
        raise ValueError(
            f"image: got {image.dtype} {image.shape}; expected uint8 [C, H, W], not empty "
            f"(for [H, W, C] pass image.transpose(2, 0, 1): no copy is made)"
        )
    return read_only(image.transpose(1, 0, 2))  # type: ignore[return-value]


def _analyze(split: Kernel, lines: UInt8, first: int, count: int, levels: int) -> tuple[Float32, int, int]:
    """Planes of a strip and its halo, their stride, and where the strip itself begins in each; split: `split_strip`."""
    height, channels, samples = lines.shape
    rows, width = latent_size(height, samples, levels)
    low, high = max(0, first - ANALYSIS_HALO[0]), min(rows, first + count + ANALYSIS_HALO[1])
    scales = band_scales(levels, 2, 1 / float(CENTER))
    planes, stride = empty_planes(channels << (2 * levels), (high - low) * width)
    keep = (first - low, first - low + count)
    split(lines, low, high - low, width, levels, levels, CENTER, scales, keep, planes, stride)
    return planes, stride, keep[0] * width


def analyze_bands(image: UInt8, levels: int = 3, *, threads: int = 1, strip_rows: int | None = None) -> Float32:
    """Bands of a uint8 image [C, H, W] of any strides: float32 [C * 4**levels, ceil(H / 2**levels), ...]."""
    lines = _lines(image)
    channels = image.shape[0]
    rows, width = latent_size(image.shape[1], image.shape[2], levels)
    bands = np.empty((channels, *(2,) * (2 * levels), rows * width), np.float32)
    split = tier.pick(split_strip, plain.split_strip, image.size * plain.SAMPLE)

    def work(strip: tuple[int, int]) -> None:
        first, count = strip
        planes, _, start = _analyze(split, lines, first, count, levels)
        view = band_view(planes, channels, levels, levels, start + count * width)
        bands[..., first * width : (first + count) * width] = view[..., start:]

    pool.run(work, plan_strips(rows, 4 * width * channels << (2 * levels), threads, strip_rows), threads)
    return bands.reshape(-1, rows, width)


def analyze_quantized(
    image: UInt8,
    weight: Float32,
    bias: Float32,
    gain: Float32,
    offset: float = 0.45,
    levels: int = 3,
    *,
    threads: int = 1,
    strip_rows: int | None = None,
) -> Int16:
    """Quantised latent of a uint8 image [C, H, W] of any strides: int16 [c, ceil(H / 2**levels), ceil(W / 2**levels)].

    `weight` float32 [c, C * 4**levels], `bias` [c], `gain` [c]: the linear map and quantiser of `linear` on the
    bands of `analyze_bands`, with rounding offset in (0, 0.5]. Raises ValueError for other shapes or values.
    """
    lines = _lines(image)
    channels = image.shape[0]
    rows, width = latent_size(image.shape[1], image.shape[2], levels)
    weights, biases, gains = pad_weights(weight, bias, gain)
    if np.shape(weight)[1] != channels << (2 * levels):
        raise ValueError(f"weight: got shape {np.shape(weight)}; expected [c, {channels << (2 * levels)}]")
    if not 0 < offset <= 0.5:
        raise ValueError(f"offset: got {offset}; expected more than 0, at most 0.5")
    latent = np.empty((len(weight), rows, width), np.int16)
    flat = latent.reshape(-1)
    targets = np.arange(len(weight), dtype=np.int64) * (rows * width)
    split = tier.pick(split_strip, plain.split_strip, image.size * plain.SAMPLE)
    quantize = tier.pick(quantize_bands, plain.quantize_bands, rows * width * weights.size * plain.PRODUCT)

    def work(strip: tuple[int, int]) -> None:
        first, count = strip
        planes, stride, start = _analyze(split, lines, first, count, levels)
        offsets = pad_offsets(band_offsets(channels, levels, stride)) + start
        where = targets + first * width
        quantize(planes, offsets, weights, biases, gains, count * width, np.float32(offset), flat, where)

    pool.run(work, plan_strips(rows, 4 * width * channels << (2 * levels), threads, strip_rows), threads)
    return latent


def synthesis_range(first: int, count: int, rows: int) -> tuple[int, int]:
    """Latent rows (from, to) that synthesis of `count` latent rows from `first` of `rows` reads."""
    return max(0, first - SYNTHESIS_HALO[0]), min(rows, first + count + SYNTHESIS_HALO[1])


def _merge(planes: Float32, stride: int, first: int, count: int, image: UInt8, levels: int) -> None:
    """Samples of latent rows first .. first + count into their rows of `image`, from scaled planes with halo."""
    rows, width = latent_size(image.shape[1], image.shape[2], levels)
    low, high = synthesis_range(first, count, rows)
    part = image[:, first << levels : (first + count) << levels].transpose(1, 0, 2)
    merge = tier.pick(merge_strip, plain.merge_strip, part.size * plain.SAMPLE)
    merge(planes, stride, high - low, width, levels, levels, first - low, CENTER, True, part)


def synthesize_strip(bands: Float32, first: int, count: int, image: UInt8, levels: int = 3) -> None:
    """Write the pixel rows of latent rows first .. first + count into `image`, uint8 [C, H, W] of any strides.

    `bands`: float32 [C * 4**levels, to - from, w], the latent rows of `synthesis_range(first, count, rows)`. Strips may
    be written in any order and on any threads. Raises ValueError for another shape.
    """
    channels = image.shape[0]
    rows, width = latent_size(image.shape[1], image.shape[2], levels)
    low, high = synthesis_range(first, count, rows)
    if bands.shape != (channels << (2 * levels), high - low, width):
        raise ValueError(
            f"bands: got shape {bands.shape}; expected {(channels << (2 * levels), high - low, width)}, latent rows "
            f"{low} to {high} for an image of {image.shape}"
        )
    planes, stride = empty_planes(len(bands), (high - low) * width)
    view = band_view(planes, channels, levels, levels, (high - low) * width)
    scales = inverse_scales(levels, 2, float(CENTER)).reshape(*view.shape[1:-1], 1)
    with np.errstate(over="ignore", invalid="ignore"):  # bands of damaged weights: samples are clipped, NaN becomes 0
        np.multiply(bands.reshape(view.shape), scales, out=view)
    _merge(planes, stride, first, count, image, levels)


def synthesize_image(
    bands: Float32 | BandSource,
    height: int,
    width: int,
    levels: int = 3,
    *,
    channels: int = 3,
    threads: int = 1,
    strip_rows: int | None = None,
) -> UInt8:
    """uint8 [channels, height, width] from float32 bands [channels * 4**levels, h, w].

    `bands` may be a function of (from, to) that gives the bands of these latent rows; it is called once for each strip,
    halo included, on up to `threads` threads at once. Raises ValueError for another shape.
    """
    rows, columns = latent_size(height, width, levels)
    if not callable(bands) and bands.shape != (channels << (2 * levels), rows, columns):
        expected = (channels << (2 * levels), rows, columns)
        raise ValueError(f"bands: got shape {bands.shape}; expected {expected} for {height}x{width} pixels")
    image = np.empty((channels, height, width), np.uint8)

    def work(strip: tuple[int, int]) -> None:
        low, high = synthesis_range(*strip, rows)
        part = bands(low, high) if callable(bands) else bands[:, low:high]
        synthesize_strip(part, *strip, image, levels)

    pool.run(work, plan_strips(rows, 4 * columns * channels << (2 * levels), threads, strip_rows), threads)
    return image


def synthesize_linear(
    latent: Int16,
    weight: Float32,
    bias: Float32,
    scale: Float32,
    height: int,
    width: int,
    levels: int = 3,
    *,
    threads: int = 1,
    strip_rows: int | None = None,
) -> UInt8:
    """uint8 [C, height, width] from an integer latent [c, h, w], no network: bands = weight (latent * scale) + bias.

    `weight` float32 [C * 4**levels, c], `bias` [C * 4**levels], `scale` [c] (steps of the quantiser). The same bits as
    `synthesize_image(apply_linear(float32(latent) * scale, weight, bias), ...)`. Raises ValueError for other shapes.
    """
    rows, columns = latent_size(height, width, levels)
    channels, rest = divmod(len(weight), 1 << (2 * levels))
    if rest or np.shape(weight) != (len(weight), len(scale)) or latent.shape != (len(scale), rows, columns):
        raise ValueError(
            f"got latent {latent.shape}, weight {np.shape(weight)} and {len(scale)} scales; expected [c, {rows}, "
            f"{columns}], [C * {1 << (2 * levels)}, c] and c for {height}x{width} pixels"
        )
    gain = np.tile(inverse_scales(levels, 2, float(CENTER)), channels)
    weights, biases, gains = pad_weights(weight, bias, gain)
    steps = np.asarray(scale, np.float32)[:, None, None]
    map_all = tier.pick(map_bands, plain.map_bands, rows * columns * weights.size * plain.PRODUCT)
    image = np.empty((channels, height, width), np.uint8)

    def work(strip: tuple[int, int]) -> None:
        low, high = synthesis_range(*strip, rows)
        count = (high - low) * columns
        values = latent[:, low:high].astype(np.float32) * steps
        planes, stride = empty_planes(len(weight), count)
        offsets = pad_offsets(np.arange(len(values), dtype=np.int64) * count)
        targets = band_offsets(channels, levels, stride)
        map_all(values.reshape(-1), offsets, weights, biases, gains, count, planes, targets)
        _merge(planes, stride, *strip, image, levels)

    pool.run(work, plan_strips(rows, 4 * columns * len(weight), threads, strip_rows), threads)
    return image
