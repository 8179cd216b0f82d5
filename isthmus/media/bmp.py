# SPDX-License-Identifier: Apache-2.0
"""What the headers of BMP files, versions 4 and 5, say of their colour (Windows GDI, BITMAPV5HEADER)."""

import struct
from typing import Any, BinaryIO

from isthmus.arrays.colour.space import D65

_V4, _V5 = 108, 124  # its sizes
_CALIBRATED, _LINKED, _EMBEDDED = b"\0\0\0\0", b"KNIL", b"DEBM"  # others mean sRGB


def bmp_colour(file: BinaryIO, begin: int, most: int) -> dict[str, Any]:
    """What Pillow would have in `info` of a PNG: `icc_profile`, or `gamma` and `chromaticity`; nothing for sRGB.

    begin: where the header is, 14 in a BMP, 0 in a DIB. most: bytes of a profile. Raises ValueError for a profile that
    is another file, or lies outside this one.
    """
    file.seek(begin)
    header = file.read(_V5)
    size = int.from_bytes(header[:4], "little")
    if size < _V4 or len(header) < _V4:
        return {}
    kind = header[56:60]
    if kind == _LINKED:
        raise ValueError("its colour profile is a file of its own: convert it to sRGB first")
    if kind == _EMBEDDED and size >= _V5 and len(header) == _V5:
        place, length = struct.unpack_from("<II", header, 112)
        file.seek(begin + place)
        profile = file.read(min(length, most + 1))
        if not length or length > most or len(profile) < length:
            raise ValueError(f"its colour profile of {length} bytes is cut off or too long: get the file again")
        return {"icc_profile": profile}
    return _calibrated(header) if kind == _CALIBRATED else {}


def _calibrated(header: bytes) -> dict[str, Any]:
    """Primaries as XYZ or as chromaticities, in 2.30 bits, of an unnamed white; gamma as 2.2 or its inverse, in 16.16.

    Most files leave both at 0.
    """
    ends, gammas = struct.unpack_from("<9i", header, 60), struct.unpack_from("<3I", header, 96)
    found: dict[str, Any] = {}
    primaries = [(ends[i], ends[i + 1], sum(ends[i : i + 3])) for i in (0, 3, 6)]
    if all(total > 0 for *_, total in primaries):
        found["chromaticity"] = (*D65, *(v / total for x, y, total in primaries for v in (x, y)))
    if all(gammas):
        if max(gammas) - min(gammas) > 256:
            raise ValueError(f"its channels have gammas {[g / 65536 for g in gammas]}: convert it to sRGB first")
        gamma = gammas[0] / 65536
        found["gamma"] = gamma if gamma <= 1 else 1 / gamma
    return found
