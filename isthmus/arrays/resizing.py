# SPDX-License-Identifier: Apache-2.0
"""Images at another size: the shorter side at so many pixels, and a square out of the middle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_PIXELS = 89_478_485  # of an image, where nobody says otherwise: beyond it Pillow warns of decompression bombs
Image = NDArray[np.uint8]  # [H, W, 1 or 3]


def resized(image: Image, shorter: int, *, nearest: bool = False) -> Image:
    """Bicubic, with antialiasing, or the nearest pixels, so that the shorter side has so many pixels.

    Raises ValueError for an image that would be enlarged beyond `MOST_PIXELS`.
    """
    height, width = image.shape[:2]
    if min(height, width) == shorter:
        return image
    from PIL import Image as Pillow

    size = size_after(height, width, shorter)[::-1]
    if size[0] * size[1] > max(MOST_PIXELS, height * width):
        raise ValueError(
            f"an image of {width}x{height} would be resized to {size[0]}x{size[1]} pixels (resize or crop {shorter}); "
            f"images are enlarged to at most {MOST_PIXELS}"
        )
    picture: Any = Pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    made = np.asarray(picture.resize(size, Pillow.Resampling.NEAREST if nearest else Pillow.Resampling.BICUBIC))
    return np.ascontiguousarray(made if made.ndim == 3 else made[..., None])


def size_after(height: int, width: int, shorter: int | None) -> tuple[int, int]:
    """Height and width once the shorter side has so many pixels; None leaves them."""
    scale = shorter / min(height, width) if shorter else 1
    return max(shorter or 1, round(height * scale)), max(shorter or 1, round(width * scale))


def cut(image: Image, top: int, left: int, side: int) -> Image:
    """A square of an image, as an array of its own."""
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def fit(image: Image, resize: int | None, crop: int | None, *, nearest: bool = False) -> tuple[Image, Image]:
    """What is shown of an image, and the whole that it was cut from.

    resize: pixels of the shorter side, None leaves it. crop: of the square in the middle, for which an image that is
    smaller is enlarged; None takes the whole. Raises ValueError as `resized`.
    """
    whole = resized(image, resize, nearest=nearest) if resize else image
    if not crop:
        return whole, whole
    if min(whole.shape[:2]) < crop:
        whole = resized(whole, crop, nearest=nearest)
    height, width = whole.shape[:2]
    return cut(whole, (height - crop) // 2, (width - crop) // 2, crop), whole
