# SPDX-License-Identifier: Apache-2.0
"""The lower halves of 16-bit RGB samples, which Pillow leaves out: decoded once more in the other order of bytes."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_MODES = ("RGB", "RGBA", "RGBX")


def swapped_tiles(image: "Image.Image") -> list[Any]:
    """Where the samples of an image, opened but not decoded, lie, to be decoded to their lower bytes; [] if unknown."""
    tiles = [_swapped(tile) for tile in getattr(image, "tile", ())]
    return tiles if image.format in ("PNG", "TIFF") and None not in tiles else []


def low_bits(image: "Image.Image", tiles: list[Any]) -> "Image.Image":
    """RGB of the lower 8 bits of 16-bit RGB samples. image: opened once more; tiles: of `swapped_tiles`."""
    from PIL import ImageOps

    opened: Any = image
    opened.tile = tiles
    opened.load()
    ImageOps.exif_transpose(opened, in_place=True)
    return image.convert("RGB")


def _swapped(tile: Any) -> Any:
    """A tile whose raw mode names the other order of bytes."""
    codec, box, offset, args = tile
    mode = args if isinstance(args, str) else args[0] if args else ""
    name, _, order = str(mode).partition(";16")
    if name not in _MODES or order not in _OTHER:
        return None
    swapped = f"{name};16{_OTHER[order]}"
    made = (codec, box, offset, swapped if isinstance(args, str) else (swapped, *args[1:]))
    return type(tile)(*made) if hasattr(tile, "_fields") else made
