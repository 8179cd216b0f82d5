# SPDX-License-Identifier: Apache-2.0
"""The contexts of docs/format-context.md in plain numpy, one position after another: what the kernels must equal."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PASSES = ((0, 0), (1, 1), (0, 1), (1, 0))


def causal_contexts(
    model: Mapping[str, NDArray[Any]], row: int, planes: NDArray[np.int16]
) -> list[tuple[int, int, int]]:
    """As `contexts`, for planes [C, T] along time (`context.2`): frame after frame, plane after plane."""
    channels, count = planes.shape
    q = planes.astype(np.int64)
    residuals = np.zeros_like(q)
    counts = model["tap_counts"].reshape(-1)
    begins = np.concatenate([[0], np.cumsum(counts)]).tolist()
    found = []

    def total(kind: int, values: NDArray[np.int64], c: int, t: int) -> int:
        result = int(model[("mean_bias", "scale_bias")[kind]][row - 1, c])
        for i in range(begins[kind * channels + c], begins[kind * channels + c + 1]):
            before = t - int(model["tap_lags"][i])
            if before >= 0:
                result += int(model["tap_weights"][i]) * int(values[model["tap_planes"][i], before])
        return result

    for t in range(count):
        for c in range(channels):
            shift = int(model["mean_shift"][c])
            mean = total(0, np.clip(q, -1023, 1023), c, t)
            r = (mean + ((1 << shift) >> 1)) >> shift
            fraction = mean - (r << shift)
            a = max(1, total(1, np.minimum(np.abs(residuals), 255), c, t))
            n = a.bit_length() - 1
            level = int(model["scale_levels"][16 * n + ((16 * a) >> n) - 16])
            scale = (level + int(model["scale_offset"][row - 1, c])) >> 4
            residuals[c, t] = d = int(q[c, t]) - r
            found.append((-d if fraction < 0 else d, scale, min(3, (abs(fraction) * 8) >> shift)))
    return found


def contexts(model: Mapping[str, NDArray[Any]], row: int, tile: NDArray[np.int16]) -> list[tuple[int, int, int]]:
    """(symbol, scale before the image offset and clip, phase) of each position of a tile [C, h, w], stream order."""
    channels, height, width = tile.shape
    q = tile.astype(np.int64)
    residuals = np.zeros_like(q)
    decoded = np.zeros(tile.shape, bool)
    found = []

    def total(name: str, values: NDArray[np.int64], c: int, s: int, y: int, x: int) -> int:
        result = int(model[f"{name}_bias"][row - 1, c, s])
        for k in range(c + 1):
            own = k == c
            reach = 2 if own else 1
            first = c * (c - 1) // 2
            weights = model[f"{name}_own"][c, s] if own else model[f"{name}_earlier"][s, first + k]
            for i, weight in enumerate(weights.tolist()):
                v, u = y + i // (2 * reach + 1) - reach, x + i % (2 * reach + 1) - reach
                if 0 <= v < height and 0 <= u < width and decoded[k, v, u]:
                    result += weight * int(values[k, v, u])
        return result

    for c in range(channels):
        for s, (top, left) in enumerate(PASSES):
            places = [(y, x) for y in range(top, height, 2) for x in range(left, width, 2)]
            for y, x in places:
                shift = int(model["mean_shift"][c])
                mean = total("mean", np.clip(q, -1023, 1023), c, s, y, x)
                r = (mean + ((1 << shift) >> 1)) >> shift
                fraction = mean - (r << shift)
                a = max(1, total("scale", np.minimum(np.abs(residuals), 255), c, s, y, x))
                n = a.bit_length() - 1
                level = int(model["scale_levels"][16 * n + ((16 * a) >> n) - 16])
                scale = (level + int(model["scale_offset"][row - 1, c, s])) >> 4
                residuals[c, y, x] = q[c, y, x] - r
                d = int(residuals[c, y, x])
                found.append((-d if fraction < 0 else d, scale, min(3, (abs(fraction) * 8) >> shift)))
            for y, x in places:
                decoded[c, y, x] = True
    return found
