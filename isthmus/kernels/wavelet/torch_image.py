# SPDX-License-Identifier: Apache-2.0
"""`image.analyze_quantized` of many images at once in torch, on any device: the same integers, bit for bit.

Each operation of the definition (`reference`, `linear`) is one of torch here, on float32 alone, so that each is rounded
on its own: no matrix product, which adds in an order of its own and may use TF32, nor anything that autocast or fused
multiplication reaches. What the CUDA kernels (`isthmus.kernels.cuda.wavelet.image`) are compared with.
"""

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.types import Float32
from isthmus.kernels.wavelet.image import CENTER, latent_size
from isthmus.kernels.wavelet.reference import ALPHA, BETA, DELTA, GAMMA, band_scales, interleave_digits


def check_images(images: Tensor, weight: Float32, bias: Float32, gain: Float32, offset: float, levels: int) -> None:
    """Raises ValueError unless these are arguments of `analyze_quantized`."""
    if images.dtype != torch.uint8 or images.ndim != 4 or min(images.shape[1:]) < 1:
        raise ValueError(f"images: got {images.dtype} {tuple(images.shape)}; expected uint8 [N, C, H, W], not empty")
    outputs, bands = len(weight), images.shape[1] << (2 * levels)
    if np.shape(weight) != (outputs, bands) or np.shape(bias) != (outputs,) or np.shape(gain) != (outputs,):
        raise ValueError(
            f"got weight {np.shape(weight)}, bias {np.shape(bias)}, gain {np.shape(gain)}; expected [c, {bands}], c, c"
        )
    if not 0 < offset <= 0.5:
        raise ValueError(f"offset: got {offset}; expected more than 0, at most 0.5")


def continued(images: Tensor, levels: int) -> Tensor:
    """Images [..., H, W] with sides made multiples of 2**levels by whole-sample reflection at the right and below."""
    for axis, count in zip((-2, -1), latent_size(images.shape[-2], images.shape[-1], levels), strict=True):
        n, wanted = images.shape[axis], count << levels
        if n < wanted:
            place = torch.arange(wanted, device=images.device) % max(2 * (n - 1), 1)
            images = images.index_select(axis, torch.minimum(place, 2 * (n - 1) - place))
    return images


def split(x: Tensor) -> Tensor:
    """One level along the middle axis: float32 [outer, 2 n, ...] -> [outer, 2, n, ...], unscaled."""
    s, d = x[:, 0::2], x[:, 1::2]
    for factor, low in ((ALPHA, False), (BETA, True), (GAMMA, False), (DELTA, True)):
        if low:
            s = s + float(factor) * (torch.cat((d[:, :1], d[:, :-1]), 1) + d)
        else:
            d = d + float(factor) * (s + torch.cat((s[:, 1:], s[:, -1:]), 1))
    return torch.stack((s, d), 1)


def split_levels(images: Tensor, levels: int) -> Tensor:
    """uint8 [N, C, H, W], sides multiples of 2**levels = P: unscaled bands, float32 [N, C, P, H / P, P, W / P].

    The second P are the splits along x, first split first, the first P those along y.
    """
    n, channels, height = images.shape[:3]
    x = (images.to(torch.float32) - float(CENTER)).flatten(0, 2)[..., None]
    for _ in range(levels):
        x = split(x).flatten(0, 1)
    x = torch.unflatten(x[..., 0], 0, (n * channels, height, 1 << levels))
    for _ in range(levels):
        x = split(x).flatten(0, 1)
    return torch.unflatten(x, 0, (n, channels, 1 << levels))


def analyze_quantized(
    images: Tensor, weight: Float32, bias: Float32, gain: Float32, offset: float, levels: int
) -> Tensor:
    """uint8 [N, C, H, W] to int16 [N, c, ceil(H / 2**levels), ceil(W / 2**levels)] on the device of the images.

    weight float32 [c, C * 4**levels], bias [c], gain [c]. Raises ValueError for other shapes or values.
    """
    check_images(images, weight, bias, gain, offset, levels)
    factor = torch.from_numpy(np.array(gain, np.float32)).to(images.device)
    return analyze_cells(continued(images, levels), weight, bias, factor, offset, levels)


def analyze_cells(images: Tensor, weight: Float32, bias: Float32, gain: Tensor, offset: float, levels: int) -> Tensor:
    """The same of images whose sides are multiples of 2**levels, unchecked."""
    n, channels = images.shape[:2]
    split_up = split_levels(images, levels)
    height, width = split_up.shape[3], split_up.shape[5]
    digits = split_up.permute(0, 1, 4, 2, 3, 5).reshape(n, channels, *(2,) * (2 * levels), height, width)
    bands = digits.permute(0, *(1 + axis for axis in interleave_digits(levels))).reshape(n, -1, height, width)

    def there(values: Float32) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(images.device)

    rows, scales = there(weight)[:, :, None, None], there(np.tile(band_scales(levels, 2, 1 / float(CENTER)), channels))
    value = there(bias)[:, None, None].expand(n, -1, height, width)
    for k in range(bands.shape[1]):
        value = value + rows[:, k] * (bands[:, k] * scales[k])[:, None]
    value = value * gain[:, None, None]
    magnitude = (value.abs() + float(np.float32(offset))).clamp(max=1 << 15).to(torch.int32)
    return torch.where(value < 0, -magnitude, magnitude.clamp(max=(1 << 15) - 1)).to(torch.int16)
