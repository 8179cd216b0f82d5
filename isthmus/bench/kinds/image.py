# SPDX-License-Identifier: Apache-2.0
"""Images: bits per pixel against PSNR and MS-SSIM, beside what Pillow writes."""

from typing import Any

import numpy as np

from isthmus.bench.medium import Measure, Medium
from isthmus.bench.metrics.image import ms_ssim, ms_ssim_db, psnr
from isthmus.bench.peers.pillow import pillow_codecs


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Grey images are coded as RGB so that all codecs do the same work: uint8 [H, W, 3]."""
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def rate(size: int, image: np.ndarray, facts: dict[str, Any]) -> float:
    """Bits per pixel."""
    return 8 * size / (image.shape[0] * image.shape[1])


MEDIUM = Medium(
    kind="image",
    unit="bits per pixel",
    amount_unit="MPix",
    measures={
        "psnr": Measure(psnr, "PSNR, RGB (dB)"),
        "ms_ssim": Measure(ms_ssim, "MS-SSIM (dB: -10 log10(1 - MS-SSIM))", ms_ssim_db),
    },
    rate=rate,
    amount=lambda image: image.shape[0] * image.shape[1] / 1e6,
    size=lambda image: f"{image.shape[1]}x{image.shape[0]}",
    prepare=lambda image, facts: (as_rgb(image), facts),
    peers=pillow_codecs,
    anchor="jpeg",
    span=(0.3, 1.5),
)
