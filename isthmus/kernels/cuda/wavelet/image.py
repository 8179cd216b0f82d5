# SPDX-License-Identifier: Apache-2.0
"""`kernels.wavelet.torch_image.analyze_quantized` on a GPU in a few launches: the same integers, bit for bit."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.arrays.types import Float32
from isthmus.kernels.cuda.driver import launch
from isthmus.kernels.wavelet.image import CENTER
from isthmus.kernels.wavelet.reference import band_scales
from isthmus.kernels.wavelet.torch_image import check_images, continued

FILE = "wavelet/analyze.cu"
SPLIT, QUANTIZE = 256, 128  # threads of a block: `__launch_bounds__`
OUTPUTS = 48  # that a thread of `quantize` sums up at most, in registers


@lru_cache(maxsize=64)
def _places(channels: int, levels: int, height: int, width: int) -> NDArray[np.int64]:
    """Where the bands of an image [C, P, height, P, width] begin, in their order."""
    side = 1 << levels
    band = np.arange(side * side)
    x, y = np.zeros((2, side * side), np.int64)
    for bit in range(levels):
        x |= (band >> (2 * bit + 1) & 1) << bit
        y |= (band >> (2 * bit) & 1) << bit
    one = (y * height * side + x) * width
    return (np.arange(channels)[:, None] * (side * side * height * width) + one).ravel()


def analyze_quantized(
    images: Tensor, weight: Float32, bias: Float32, gain: Float32, offset: float, levels: int
) -> Tensor:
    """uint8 [N, C, H, W] to int16 [N, c, ceil(H / 2**levels), ceil(W / 2**levels)], on a CUDA device.

    weight float32 [c, C * 4**levels], bias [c], gain [c]. It takes twice the images as float32 meanwhile. Does not wait
    for the result. Raises ValueError for other shapes, values or devices, MissingExtraError without NVRTC.
    """
    check_images(images, weight, bias, gain, offset, levels)
    n, channels = images.shape[:2]
    source: Tensor = continued(images, levels).contiguous()
    height, width = source.shape[2] >> levels, source.shape[3] >> levels
    total, device = source.numel(), images.device
    if total >= 1 << 32:
        raise ValueError(f"images: {total} samples at once, expected less than {1 << 32}")
    outputs = len(weight)
    latents = torch.empty(n, outputs, height, width, dtype=torch.int16, device=device)
    if not n:
        return latents
    rooms = torch.empty(2, total, dtype=torch.float32, device=device)
    for level in range(2 * levels):
        along_x = level < levels
        pairs = source.shape[3 if along_x else 2] >> (level % levels + 1)
        target = rooms[level % 2]
        launch(
            FILE, "split", device, -(-(total // 2) // SPLIT), SPLIT, "PPqII",
            (source if level == 0 else rooms[1 - level % 2], target, total // 2, pairs,
             1 if along_x else source.shape[3]),
            defines=(f"SAMPLE={'u8' if level == 0 else 'float'}", "OUTPUTS=4"),
        )  # fmt: skip
    each = min(OUTPUTS, -(-outputs // 4) * 4)
    groups = -(-outputs // each)
    padding = (0, groups * each - outputs)
    scales = np.tile(band_scales(levels, 2, 1 / float(CENTER)), channels)
    places = _places(channels, levels, height, width)
    numbers = np.concatenate([
        np.pad(np.asarray(weight, np.float32), (padding, (0, 0))).T.ravel(), np.pad(bias, padding),
        np.pad(gain, padding), scales,
    ]).astype(np.float32)  # fmt: skip
    there = torch.from_numpy(numbers).to(device)  # in one copy: each waits
    weights, biases, gains, scaled = torch.split(
        there, [len(places) * groups * each, *(groups * each,) * 2, len(places)]
    )
    positions = n * height * width
    blocks = -(-positions // QUANTIZE)
    launch(
        FILE, "quantize", device, blocks * groups, QUANTIZE, "PqPPIPPPIIfIIIqIP",
        (
            rooms[1], total // n, torch.from_numpy(places).to(device), scaled, len(places), weights,
            biases, gains, outputs, groups * each, float(np.float32(offset)), height, width, width << levels,
            positions, blocks, latents,
        ),
        defines=("SAMPLE=float", f"OUTPUTS={each}"),
    )  # fmt: skip
    return latents
