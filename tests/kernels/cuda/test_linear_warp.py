# SPDX-License-Identifier: Apache-2.0
"""What huffman/linear.cu makes of decoded weights, in numpy: arrays of 32 are one value for each lane of a warp."""

import re

import numpy as np
import pytest

from isthmus.kernels.cuda import nvrtc
from isthmus.kernels.cuda.huffman import linear as huffman_linear

LANE = np.arange(32)
PIECE, STEPS = 256, 8


def tensor_core(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """mma.m16n8k16 as PTX lays its fragments out: a [32, 4, 2], b [32, 2, 2] -> [32, 4]."""
    left, right = np.zeros((16, 16)), np.zeros((16, 8))
    row, place = LANE // 4, LANE % 4 * 2
    for k in (0, 1):
        left[row, place + k], left[row + 8, place + k] = a[:, 0, k], a[:, 1, k]
        left[row, place + 8 + k], left[row + 8, place + 8 + k] = a[:, 2, k], a[:, 3, k]
        right[place + k, row], right[place + 8 + k, row] = b[:, 0, k], b[:, 1, k]
    product = left @ right
    return np.stack([product[row + 8 * (i // 2), place + i % 2] for i in range(4)], axis=1)


def take(parts: np.ndarray, weights: np.ndarray, first: int, x: np.ndarray, pieces_a_row: int, count: int) -> None:
    """A warp's 2048 weights, of which those from `count` on hold anything."""
    piece = first // PIECE
    reciprocal = -(-(1 << 32) // pieces_a_row) & 0xFFFFFFFF
    row = piece if pieces_a_row == 1 else piece * reciprocal >> 32
    place = piece - row * pieces_a_row
    values, until = place * PIECE, pieces_a_row - place
    upper, lower = np.zeros((len(x), 32, 4)), np.zeros((len(x), 32, 4))
    for step in range(STEPS):
        eight = weights[step * PIECE + LANE[:, None] * 8 + np.arange(8)].reshape(32, 4, 2)[:, [0, 2, 1, 3]]
        for k in range(len(x)):
            found = x[k, values + step * PIECE + LANE[:, None] * 8 + np.arange(8)].reshape(32, 4, 2)
            upper[k] += tensor_core(eight, found[:, :2])
            lower[k] += tensor_core(eight, found[:, 2:])
        if step + 1 in (until, STEPS):
            if piece + step < count // PIECE:
                parts[piece + step] = finish(upper, lower)
            upper[:], lower[:] = 0, 0
            if step + 1 == until:
                values, until = values - pieces_a_row * PIECE, until + pieces_a_row


def finish(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    row = LANE // 4
    odd, even = upper[:, :, 1] + lower[:, :, 3], upper[:, :, 0] + lower[:, :, 2]
    return np.where(row // 2 == LANE % 4, np.where(row % 2 == 1, odd, even), 0).sum(1)


def add_parts(parts: np.ndarray, pieces_a_row: int, rows: int) -> np.ndarray:
    found = np.zeros((rows, parts.shape[1]))
    for row in range(rows):
        piece, end = row * pieces_a_row, (row + 1) * pieces_a_row
        while piece < end:
            last = min(piece | STEPS - 1, end - 1)
            found[row] += parts[last]
            piece = last + 1
    return found.T


@pytest.mark.parametrize(
    ("rows", "pieces"), [(1, 1), (19, 1), (9, 2), (11, 3), (5, 7), (4, 8), (3, 11), (2, 16), (3, 20)]
)
@pytest.mark.parametrize("vectors", [1, 3])
def test_products(rows: int, pieces: int, vectors: int) -> None:
    rng = np.random.default_rng(rows)
    matrix = rng.integers(-9, 10, (rows, pieces * PIECE)).astype(np.float64)
    x = rng.integers(-9, 10, (vectors, pieces * PIECE)).astype(np.float64)
    parts = np.full((rows * pieces, vectors), np.nan)
    padded = np.full(-(-matrix.size // 2048) * 2048, 1e9)  # what is behind the last weight holds anything
    padded[: matrix.size] = matrix.reshape(-1)
    for first in range(0, len(padded), 2048):
        room = np.concatenate((x, np.full((vectors, 2048), np.nan)), axis=1)  # nothing behind the vectors is used
        take(parts, padded[first : first + 2048], first, room, pieces, matrix.size)
    assert np.array_equal(add_parts(parts, pieces, rows), x @ matrix.T)


def test_where_reciprocals_are_exact() -> None:
    rng = np.random.default_rng(0)
    for pieces in [*range(2, 300), 1000, 65_535]:
        reciprocal = -(-(1 << 32) // pieces)
        most = (1 << 32) // pieces - 1
        places = np.concatenate((np.arange(1000), rng.integers(0, most, 1000), [most, most // pieces * pieces])).astype(
            np.uint64
        )
        places = places[places <= most]
        assert np.array_equal(places * np.uint64(reciprocal) >> np.uint64(32), places // np.uint64(pieces))
    assert huffman_linear.can_multiply(1 << 34, 1 << 13)
    assert not huffman_linear.can_multiply(1 << 40, 1 << 16)
    assert not huffman_linear.can_multiply(1 << 20, 384) and not huffman_linear.can_multiply(100, 0)


def test_both_sides_mean_the_same_sizes() -> None:
    source = nvrtc.source_of("huffman/linear.cu")
    sizes = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)[;,]", source)}
    assert "PIECE = 32 * 8" in source and huffman_linear.PIECE == PIECE and sizes["STEPS"] == STEPS
    assert f"__launch_bounds__({huffman_linear.ROWS})" in source and f"blockIdx.x * {huffman_linear.ROWS}" in source
