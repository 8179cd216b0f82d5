# SPDX-License-Identifier: Apache-2.0
"""Distances between an image and its reconstruction: PSNR, MS-SSIM, and LPIPS with weights that the user gives."""

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import MissingExtraError, UnreadableFileError

if TYPE_CHECKING:
    import torch

Metric = Callable[[np.ndarray, np.ndarray], float]

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_STRIP_ROWS = 64  # the working set of a strip stays in cache, and memory does not grow with the image


def _check_pair(a: np.ndarray, b: np.ndarray) -> None:
    for image in (a, b):
        if image.dtype != np.uint8 or image.ndim != 3 or image.size == 0:
            raise ValueError(f"expected two uint8 images [H,W,C]; got {image.dtype} {list(image.shape)}")
    if a.shape != b.shape:
        raise ValueError(f"expected two images of one shape; got {list(a.shape)} and {list(b.shape)}")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 images [H,W,C]; infinite if they are equal."""
    _check_pair(a, b)
    total = 0
    for top in range(0, a.shape[0], _STRIP_ROWS):
        difference = a[top : top + _STRIP_ROWS].astype(np.int32) - b[top : top + _STRIP_ROWS]
        total += int(np.sum(difference * difference, dtype=np.int64))
    return 10 * math.log10(255**2 * a.size / total) if total else math.inf


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity of two uint8 images [H,W,C]: at most 1; the mean over channels.

    Z. Wang, E. P. Simoncelli and A. C. Bovik, "Multiscale structural similarity for image quality assessment",
    2003: Gaussian window of 11 taps and sigma 1.5, only where it lies inside the image; each next scale by means of
    2x2 pixels (an odd last row or column counts twice), five scales. Negative contrast terms count as 0.

    Five scales need 161 pixels on the shorter side. Smaller images use as many scales as the window fits, with
    their weights scaled to a sum of 1; below 11 pixels the window is cut to the image.
    """
    import torch

    _check_pair(a, b)
    values = []
    for channel in range(a.shape[2]):
        # Centred on 0: variances lose fewer digits, and structure does not depend on the mean.
        x, y = (torch.from_numpy(image[:, :, channel].astype(np.float32) - 128) for image in (a, b))
        values.append(_ms_ssim_plane(x, y))
    return sum(values) / len(values)


def ms_ssim_db(value: float) -> float:
    """MS-SSIM as -10 log10(1 - value) dB, the scale on which curves are compared; infinite for 1."""
    return -10 * math.log10(1 - value) if value < 1 else math.inf


def _ms_ssim_plane(x: "torch.Tensor", y: "torch.Tensor") -> float:
    from torch.nn.functional import avg_pool2d, pad

    terms: list[float] = []
    for scale in range(len(_SCALE_WEIGHTS)):
        structure, similarity = _ssim_means(x, y)
        terms.append(structure)
        rows, columns = x.shape
        if min((rows + 1) // 2, (columns + 1) // 2) < _WINDOW or scale == len(_SCALE_WEIGHTS) - 1:
            break
        x, y = (
            avg_pool2d(pad(plane[None, None], (0, columns % 2, 0, rows % 2), mode="replicate"), 2)[0, 0]
            for plane in (x, y)
        )
    terms[-1] = similarity  # the luminance term counts at the coarsest scale only
    weights = _SCALE_WEIGHTS[: len(terms)]
    powers = (max(term, 0.0) ** (weight / sum(weights)) for term, weight in zip(terms, weights, strict=True))
    return float(math.prod(powers))


def _ssim_means(x: "torch.Tensor", y: "torch.Tensor") -> tuple[float, float]:
    """Means over the plane of the contrast-structure term, and of it times the luminance term."""
    import torch

    rows, columns = (_gaussian(min(_WINDOW, size)) for size in x.shape)
    structure_sum = similarity_sum = 0.0
    height = x.shape[0] - len(rows) + 1
    for top in range(0, height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, height) + len(rows) - 1
        p, q = x[top:bottom], y[top:bottom]
        maps = _filter(torch.stack([p, q, p * p + q * q, p * q]), rows, columns)
        mean_p, mean_q, power, product = maps.double()
        squares, cross = mean_p * mean_p + mean_q * mean_q, mean_p * mean_q
        structure = (2 * (product - cross) + _C2) / (power - squares + _C2)
        bright_p, bright_q = mean_p + 128, mean_q + 128
        luminance = (2 * bright_p * bright_q + _C1) / (bright_p * bright_p + bright_q * bright_q + _C1)
        structure_sum += float(structure.sum())
        similarity_sum += float((structure * luminance).sum())
    count = height * (x.shape[1] - len(columns) + 1)
    return structure_sum / count, similarity_sum / count


def _gaussian(taps: int) -> list[float]:
    offsets = np.arange(taps) - (taps - 1) / 2
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    return [float(weight) for weight in window / window.sum()]


def _filter(maps: "torch.Tensor", rows: list[float], columns: list[float]) -> "torch.Tensor":
    """Separable filter of [N,H,W], only where the window lies inside: [N, H-len(rows)+1, W-len(columns)+1]."""
    for axis, window in ((1, rows), (2, columns)):
        size = maps.shape[axis] - len(window) + 1
        total = maps.narrow(axis, 0, size) * window[0]
        for tap, weight in enumerate(window[1:], start=1):
            total.add_(maps.narrow(axis, tap, size), alpha=weight)
        maps = total
    return maps


def load_lpips(weights: str | os.PathLike[str], net: str = "alex") -> Metric:
    """LPIPS (Zhang et al., 2018) with backbone `net` (alex, vgg, squeeze), as a function of two uint8 images.

    weights: a file with the whole state of `lpips.LPIPS(net=...)`, backbone included, as torch.save or safetensors
    wrote it; nothing is downloaded. Raises `MissingExtraError` without the package `lpips`, `UnreadableFileError`
    for a file that does not hold these weights.
    """
    import torch

    try:
        import lpips
    except ImportError as error:
        raise MissingExtraError(f"LPIPS needs the package lpips: pip install lpips ({error})") from error
    model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False).eval()
    try:
        model.load_state_dict(_load_state(weights))
    except Exception as error:  # many classes: a foreign file, another network, a pickle that is not plain tensors
        raise UnreadableFileError(f"{weights}: not the state of lpips.LPIPS(net={net!r}): {error}") from error

    def lpips_distance(a: np.ndarray, b: np.ndarray) -> float:
        _check_pair(a, b)
        planes = (torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None] for image in (a, b))
        with torch.no_grad():
            return float(model(*(plane.float() / 127.5 - 1 for plane in planes)))

    return lpips_distance


def _load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    if str(path).endswith(".safetensors"):
        return dict(load_file(path))
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
