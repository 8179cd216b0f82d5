# SPDX-License-Identifier: Apache-2.0
"""ICC profiles of curves and a matrix, read to a `Space` (ICC.1:2022, 8.3, 8.4, 10.6 and 10.18).

Pillow hands LittleCMS 8-bit samples alone, and LittleCMS makes tables of few points of some of these; a `Space` takes
16 bits and is exact. A profile is untrusted: nothing is taken from it but what lies within it.
"""

import struct

import numpy as np

from isthmus.arrays.colour.code_points import check_transfer
from isthmus.arrays.colour.space import Curve, Space, from_xyz, power, table
from isthmus.arrays.types import Float64

MAX_TAGS = 1024
DARKEST = 0.1842  # light of L* 50, the most that is taken for black
_DEVICES = (b"mntr", b"scnr", b"prtr", b"spac")
_LOOKUP = {b"A2B0", b"A2B1", b"D2B0", b"D2B1"}  # a profile that has them means them, not its matrix


def space_of_profile(profile: bytes) -> Space | None:
    """The `Space` of an RGB or grey profile, None for one that is none, damaged, or made of lookup tables.

    Raises ValueError for a profile whose `cicp` tag says HDR.
    """
    tags = _tags(profile)
    _refuse_hdr(tags)
    if _LOOKUP & set(tags) or profile[12:16] not in _DEVICES or profile[20:24] != b"XYZ ":
        return None
    kind = profile[16:20]
    names = [b"kTRC"] if kind == b"GRAY" else [b"rTRC", b"gTRC", b"bTRC"] if kind == b"RGB " else []
    try:
        curves = tuple(_curve(tags[name]) for name in names)
        if kind == b"GRAY":
            return Space(_from_black(curves, np.ones(1)))
        columns = np.stack([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
        return Space(_from_black(curves, columns[1]), from_xyz(columns)) if curves else None
    except (KeyError, ValueError, struct.error):
        return None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Those whose place and size lie within the profile; a damaged one has none."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return {}
    count = min(int.from_bytes(profile[128:132], "big"), MAX_TAGS, (len(profile) - 132) // 12)
    found = {}
    for name, begin, size in struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count]):
        if begin + size <= len(profile):
            found[name] = profile[begin : begin + size]
    return found


def _refuse_hdr(tags: dict[bytes, bytes]) -> None:
    stated = tags.get(b"cicp", b"")
    if len(stated) >= 12 and stated[9] in (16, 18):
        check_transfer(stated[9], "its ICC profile")


def _xyz(tag: bytes) -> np.ndarray:
    if tag[:4] != b"XYZ ":
        raise ValueError("no XYZ")
    return np.array(struct.unpack(">3i", tag[8:20])) / 65536


def _from_black(curves: tuple[Curve, ...], luminance: Float64) -> tuple[Curve, ...]:
    """Curves whose black is no light: black point compensation, as LittleCMS does it.

    Raises ValueError where black is light.
    """
    black = sum(float(y * c(np.zeros(1))[0]) for y, c in zip(luminance, curves, strict=True))
    if black <= 0:
        return curves
    if black > DARKEST:
        raise ValueError("black is light")
    return tuple(lambda x, c=c: (c(x) - black) / (1 - black) for c in curves)  # type: ignore[misc]


def _curve(tag: bytes) -> Curve:
    """Samples 0..1 to light. Raises ValueError or struct.error for what is no curve."""
    if tag[:4] == b"para":
        return _parametric(tag)
    count = struct.unpack(">I", tag[8:12])[0]
    if tag[:4] != b"curv" or 12 + 2 * count > len(tag):
        raise ValueError("no curve")
    if count == 0:
        return power(1.0)
    values = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
    if count == 1:
        if values[0] == 0:
            raise ValueError("a power of 0")
        return power(values[0] / 256)
    return table(values)


def _parametric(tag: bytes) -> Curve:
    kind = struct.unpack(">H", tag[8:10])[0]
    if kind > 4:
        raise ValueError("no such function")
    count = (1, 3, 4, 5, 7)[kind]
    g, *rest = (v / 65536 for v in struct.unpack(f">{count}i", tag[12 : 12 + 4 * count]))
    a, b, c, d, e, f = [*rest, *[0.0] * (6 - len(rest))] if rest else (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if g <= 0 or a <= 0:
        raise ValueError("no rising function")
    if kind in (1, 2):  # below -b / a there is a constant
        c, d, e, f = 0.0, -b / a, c, c
    return lambda x: np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
