# SPDX-License-Identifier: Apache-2.0
"""Colour by the numbers of ITU-T H.273, as PNG `cICP` and AVIF `nclx` have them."""

from dataclasses import dataclass

import numpy as np

from isthmus.arrays.colour.space import D65, SRGB_PRIMARIES, Curve, Point, Space, from_xyz, power, srgb_curve, xyz_of

_C: Point = (0.310, 0.316)
_PRIMARIES: dict[int, tuple[tuple[Point, Point, Point], Point]] = {  # H.273, table 2: red, green, blue; white
    1: (SRGB_PRIMARIES, D65),
    2: (SRGB_PRIMARIES, D65),  # not specified
    4: (((0.67, 0.33), (0.21, 0.71), (0.14, 0.08)), _C),
    5: (((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), D65),
    6: (((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), D65),
    7: (((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), D65),
    8: (((0.681, 0.319), (0.243, 0.692), (0.145, 0.049)), _C),
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), D65),
    11: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.314, 0.351)),
    12: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), D65),
    22: (((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)), D65),
}
HDR = {16: "PQ", 18: "HLG"}
# 1, 6, 7, 14, 15 are the curves of video cameras (BT.709 and its kin). Stills carry them where an encoder wrote the
# defaults of video over sRGB pixels. Inverting the camera's curve would make such a picture lighter, the curve of a
# video display (BT.1886) darker by as much; sRGB lies between the two and leaves the pixels as they are.
_TRANSFER: dict[int, Curve] = {
    **dict.fromkeys((1, 2, 6, 7, 13, 14, 15), srgb_curve),
    4: power(2.2),
    5: power(2.8),
    8: power(1.0),
    17: lambda x: np.minimum(x**2.6 * 52.37 / 48, 1),
}


@dataclass(frozen=True)
class CodePoints:
    """What a file states: primaries and transfer function by H.273; full_range: black is at 0 and white at the top.

    where: what stated it, for messages.
    """

    primaries: int
    transfer: int
    full_range: bool
    where: str


def check_transfer(transfer: int, where: str) -> None:
    """Raises ValueError for HDR, and for a curve that this version does not know."""
    if transfer in HDR:
        raise ValueError(
            f"{where} says {HDR[transfer]} (HDR), which 8-bit sRGB cannot hold: tone-map it to SDR and save it first"
        )
    if transfer not in _TRANSFER:
        known = ", ".join(map(str, sorted(_TRANSFER)))
        raise ValueError(
            f"{where} has transfer function {transfer} of H.273, this version converts {known}: "
            "convert it to sRGB first"
        )


def space_of(stated: CodePoints) -> Space:
    """Raises ValueError for HDR and for numbers that this version does not know."""
    check_transfer(stated.transfer, stated.where)
    if stated.primaries not in _PRIMARIES:
        known = ", ".join(map(str, _PRIMARIES))
        raise ValueError(
            f"{stated.where} has colour primaries {stated.primaries} of H.273, this version converts {known}: "
            "convert it to sRGB first"
        )
    matrix = from_xyz(xyz_of(*_PRIMARIES[stated.primaries]))
    return Space((_TRANSFER[stated.transfer],), matrix, not stated.full_range)
