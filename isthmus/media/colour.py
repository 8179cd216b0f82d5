# SPDX-License-Identifier: Apache-2.0
"""What image files state of their colour that Pillow does not hand on: of PNG, AVIF and HEIF, JPEG 2000, BMP."""

import os
import struct
from typing import Any, BinaryIO

from isthmus.arrays.colour.code_points import CodePoints
from isthmus.media.av1 import colour_of
from isthmus.media.bmp import bmp_colour
from isthmus.media.boxes import Box, beginning_of_primary_item, colours_of_primary_item, first, payload

_MAX_PROFILE, _MOST_AV1 = 1 << 26, 1024
_JP2_COLOURS = {0: "grey", 12: "CMYK", 15: "grey", 16: "sRGB", 17: "grey", 18: "sYCC"}  # ISO 15444-1 and -2, M.11.7.3


def stated_colour(file: BinaryIO, kind: str | None) -> CodePoints | None:
    """Code points that count before an ICC profile or in its absence; `kind` is Pillow's name of the format.

    Raises ValueError where they cannot be read.
    """
    if kind == "PNG":
        return _cicp(file)
    if kind in ("AVIF", "HEIF"):
        return _nclx(file, kind)
    return None


def _cicp(file: BinaryIO) -> CodePoints | None:
    """PNG 3, 11.3.2.6; it stands before the image data."""
    at = 8
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] in (b"IDAT", b"IEND"):
            return None
        if head[4:] == b"cICP":
            break
        at += 12 + int.from_bytes(head[:4], "big")
    values = file.read(4)
    if head[:4] != b"\0\0\0\4" or len(values) < 4 or values[2] != 0 or values[3] > 1:
        raise ValueError(f"its cICP chunk is {values.hex()}: expected 4 bytes, the third 0 and the last 0 or 1")
    return CodePoints(values[0], values[1], bool(values[3]), "its cICP chunk")


def _nclx(file: BinaryIO, kind: str) -> CodePoints | None:
    """None too where there is a profile: that says more of RGB, and nclx how the decoder made RGB of YUV."""
    stated = colours_of_primary_item(file, _size(file))
    if any(one[:4] in (b"prof", b"rICC") for one in stated):
        return None
    for one in stated:
        if one[:4] == b"nclx" and len(one) == 11:
            primaries, transfer = struct.unpack_from(">HH", one, 4)
            return CodePoints(primaries, transfer, True, "its nclx colour box")
    found = (
        colour_of(beginning_of_primary_item(file, _size(file), _MOST_AV1)) if kind == "AVIF" and not stated else None
    )
    return CodePoints(*found, True, "its AV1 sequence header") if found else None


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def left_out(file: BinaryIO, kind: str | None) -> dict[str, Any]:
    """What Pillow leaves out of `info`, by its names. Raises ValueError for what is not known here."""
    if kind in ("BMP", "DIB"):
        return bmp_colour(file, 14 if kind == "BMP" else 0, _MAX_PROFILE)
    if kind == "JPEG2000":
        file.seek(0)
        profile = _jp2_profile(file) if file.read(8)[4:] == b"jP  " else None  # else a code stream alone
        return {"icc_profile": profile} if profile else {}
    return {}


def _jp2_profile(file: BinaryIO) -> bytes | None:
    """The ICC profile of a JP2 file, None where its colours are named. Raises ValueError for names not known here."""
    header = first(file, 0, _size(file), b"jp2h")
    stated: Box | None = None if header is None else first(file, header.begin, header.end, b"colr")
    if stated is None:
        return None
    found = payload(file, stated, _MAX_PROFILE)
    method, number = found[:1], int.from_bytes(found[3:7], "big")
    if method in (b"\2", b"\3"):
        return found[3:]
    if method == b"\1" and number not in _JP2_COLOURS:
        raise ValueError(f"its colours are number {number} of JPEG 2000: convert it to sRGB first")
    if method != b"\1":
        raise ValueError(f"its colours are stated by method {method.hex()} of JPEG 2000: convert it to sRGB first")
    return None
