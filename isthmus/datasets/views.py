# SPDX-License-Identifier: Apache-2.0
"""What of an image is stored: resized, cropped, and further views beside it."""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.datasets.settings import MOST_PIXELS, Settings

Image = NDArray[np.uint8]  # [H, W, 1 or 3]
MOST_CROPS = 1000


def parse_views(given: Sequence[str], kind: str, crop: int | None) -> tuple[str, ...]:
    """Names as the settings keep them. Raises ValueError for one that there is not, or that is not of this kind."""
    views = tuple(dict.fromkeys(name for text in given for name in text.split(",") if name))
    for view in views:
        crops = re.fullmatch(r"crops:([1-9]\d{0,3})", view)
        if view not in ("hflip", "vflip") and not (crops and int(crops[1]) <= MOST_CROPS):
            raise ValueError(f"views: {view!r}, expected hflip, vflip or crops:N (N up to {MOST_CROPS})")
        if crops and crop is None:
            raise ValueError("views: crops need the size of a crop: --crop 224, crop=224")
    if views and kind != "image":
        raise ValueError(f"views: {', '.join(views)} are of images; these are {kind}")
    return views


def views_of(image: Image, settings: Settings, key: str, *, nearest: bool = False) -> Iterator[tuple[str, Image]]:
    """Name and pixels of each view; the first, "", is the image as it is. Random crops depend on the key alone.

    nearest: resized pixels are those of the image, none between them, as numbers of classes need.
    """
    if settings.resize:
        image = _resized(image, settings.resize, nearest)
    whole = image
    if settings.crop:
        if min(image.shape[:2]) < settings.crop:
            whole = _resized(image, settings.crop, nearest)
        height, width = whole.shape[:2]
        image = _cut(whole, (height - settings.crop) // 2, (width - settings.crop) // 2, settings.crop)
    yield "", image
    for view in settings.views:
        if view == "hflip":
            yield view, np.ascontiguousarray(image[:, ::-1])
        elif view == "vflip":
            yield view, np.ascontiguousarray(image[::-1])
        else:
            assert settings.crop is not None
            chance = random.Random(f"crops {key}")
            for number in range(int(view.partition(":")[2])):
                top = chance.randint(0, whole.shape[0] - settings.crop)
                left = chance.randint(0, whole.shape[1] - settings.crop)
                yield f"crop{number}", _cut(whole, top, left, settings.crop)


def _cut(image: Image, top: int, left: int, side: int) -> Image:
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _resized(image: Image, shorter: int, nearest: bool) -> Image:
    """Bicubic, with antialiasing, or the nearest pixels, so that the shorter side has so many pixels."""
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
