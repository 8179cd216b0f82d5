# SPDX-License-Identifier: Apache-2.0
"""An RGB or grey colour space as curves to light and a matrix to the light of sRGB's primaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from isthmus.arrays.types import Float32, Float64, UInt8

Curve = Callable[[Float64], Float64]
Point = tuple[float, float]

D65: Point = (0.3127, 0.3290)
SRGB_PRIMARIES: tuple[Point, Point, Point] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
D50 = np.array([0.9642, 1.0, 0.8249])  # XYZ of the white to which ICC profiles are adapted
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
STEPS = 65535  # of light in the table that encodes it: near black a level of sRGB is twenty of them


@dataclass(frozen=True, eq=False)
class Space:
    """How samples mean light.

    curves: one for grey or all channels alike, or three; each takes samples 0..1 to light 0..1. matrix: [3, 3] from
    light to light in sRGB's primaries, None where the primaries are those. narrow: black and white are at 16 and 235
    of 255, as in video.
    """

    curves: tuple[Curve, ...]
    matrix: Float64 | None = None
    narrow: bool = False

    def light(self, channel: int, top: int) -> Float32:
        """Light 0..1 of the samples 0..top: float32 [top + 1]."""
        x = np.arange(top + 1) / top
        if self.narrow:
            x = np.clip((x * 255 - 16) / 219, 0, 1)
        curve = self.curves[channel if len(self.curves) > 1 else 0]
        return np.clip(np.nan_to_num(curve(x)), 0, 1).astype(np.float32)


def srgb_curve(x: Float64) -> Float64:
    """sRGB samples to light (IEC 61966-2-1)."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def power(exponent: float) -> Curve:
    """Samples to light by a power."""
    return lambda x: x**exponent


def table(values: Float64) -> Curve:
    """Samples to light by a table of light 0..65535 at equal distances."""
    places = np.linspace(0, 1, len(values))
    return lambda x: np.interp(x, places, values / 65535)


@cache
def encoded() -> UInt8:
    """sRGB levels of light in steps of 1 / STEPS, rounded: uint8 [STEPS + 1]."""
    light = np.arange(STEPS + 1) / STEPS
    samples = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(samples * 255).astype(np.uint8)


def from_xyz(columns: Float64) -> Float64 | None:
    """The matrix of a `Space` whose primaries have the D50 XYZ of `columns` [3, 3]; None if they are sRGB's.

    Raises ValueError for primaries that span no space.
    """
    if not np.isfinite(columns).all() or abs(np.linalg.det(columns)) < 1e-4:
        raise ValueError("its primaries lie on a line")
    matrix: Float64 = np.linalg.solve(_srgb_columns(), columns).astype(np.float64)
    return None if np.abs(matrix - np.eye(3)).max() < 1e-3 else matrix


def xyz_of(primaries: Sequence[Point], white: Point) -> Float64:
    """XYZ columns [3, 3] of primaries by their chromaticities, adapted from `white` to D50 by Bradford's method.

    Raises ValueError for a white or primaries that are no colours.
    """
    if not all(0 <= x <= 1 and 0 < y <= 1 for x, y in [*primaries, white]):
        raise ValueError(f"its chromaticities {[*primaries, white]} are no colours")
    columns, light = np.stack([_xyz(p) for p in primaries], axis=1), _xyz(white)
    if abs(np.linalg.det(columns)) < 1e-4:
        raise ValueError("its primaries lie on a line")
    columns = columns * np.linalg.solve(columns, light)
    scale = (_BRADFORD @ D50) / (_BRADFORD @ light)
    return np.asarray(np.linalg.solve(_BRADFORD, np.diag(scale) @ _BRADFORD) @ columns)


def _xyz(point: Point) -> Float64:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


@cache
def _srgb_columns() -> Float64:
    return xyz_of(SRGB_PRIMARIES, D65)
