# SPDX-License-Identifier: Apache-2.0
"""What of an image is stored: resized, cropped, and further views beside it."""

import random
import re
from collections.abc import Iterator, Sequence

import numpy as np

from isthmus.arrays.resizing import Image, cut, fit
from isthmus.datasets.settings import Settings

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
    image, whole = fit(image, settings.resize, settings.crop, nearest=nearest)
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
                yield f"crop{number}", cut(whole, top, left, settings.crop)
