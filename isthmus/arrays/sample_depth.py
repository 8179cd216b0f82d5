# SPDX-License-Identifier: Apache-2.0
"""Bits per sample as a file declares them.

Pillow reads 16-bit colour into 8 bits without a word, so the depth is taken from the file's own header:
PNG IHDR (W3C PNG 3, 11.2.1), TIFF BitsPerSample (TIFF 6.0), AVIF `av1C` (AV1-ISOBMFF 2.3), JPEG 2000 SIZ
(ISO 15444-1 A.5.1), PNM maxval.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

HEAD_BYTES = 65536  # all the headers below lie within this much of the file, unless a large profile comes first
_PNM_HEADER = re.compile(rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)")
_TIFF_BITS_PER_SAMPLE, _TIFF_PHOTOMETRIC = 258, 262


def bits_per_sample(image: "Image.Image", head: bytes) -> int:
    """Bits of the deepest channel of `image`, opened by Pillow from a file that begins with `head` (may be empty)."""
    if image.format == "PNG" and len(head) > 24:
        return head[24]
    if hasattr(image, "tag_v2"):
        return _tiff_bits(image)
    if image.format == "AVIF":
        at = head.find(b"av1C")
        if 0 <= at < len(head) - 6:
            high, twelve = head[at + 6] >> 6 & 1, head[at + 6] >> 5 & 1
            return 8 + 2 * high + 2 * (high & twelve)
    if image.format == "JPEG2000":
        at = head.find(b"\xff\x4f\xff\x51")  # SOC, SIZ; the first Ssiz comes 42 bytes later
        if 0 <= at < len(head) - 42:
            return (head[at + 42] & 0x7F) + 1
    if image.format == "PPM" and (found := _PNM_HEADER.match(head)):
        return int(found.group(1)).bit_length()
    if image.mode == "I" and image.format is None:  # 32-bit integers made in memory: what they hold decides
        return next(bits for bits in (8, 16, 32) if max(_extrema(image)) < 1 << bits)
    if image.mode.startswith("I"):
        return 16
    return 16 if any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) else 8


def _extrema(image: "Image.Image") -> tuple[int, int]:
    found: Any = image.getextrema() if image.width and image.height else (0, 0)
    return int(found[0]), int(found[1])


def _tiff_bits(image: "Image.Image") -> int:
    bits = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, 8)  # type: ignore[attr-defined]
    return int(max(bits)) if isinstance(bits, tuple) else int(bits)


def grey_levels(image: "Image.Image") -> tuple[int, int]:
    """Sample values of black and white in a grey `image` of more than 8 bits, as Pillow hands them over.

    TIFF keeps the file's own samples, and WhiteIsZero is not undone above 8 bits; all else is scaled to 16 bits.
    """
    if not hasattr(image, "tag_v2"):
        return (0, 255) if image.mode == "I" and bits_per_sample(image, b"") == 8 else (0, 65535)
    full = (1 << _tiff_bits(image)) - 1
    return (full, 0) if image.tag_v2.get(_TIFF_PHOTOMETRIC) == 0 else (0, full)
