# SPDX-License-Identifier: Apache-2.0
"""Weighted sums over the neighbours of all positions of a plane, for the contexts of payload `context.1`.

A tile's plane is kept as four phases, one a pass, each with a margin of zeros: position (y, x) lies in the phase of
(y mod 2, x mod 2), at (y // 2, x // 2). All phases have one stride, so that a neighbour of every position of a pass is
one slice of one phase, and sums over a pass are loops over contiguous float32. All values are integers and all sums
stay below 2**24, hence exact in any order, which lets the compiler reorder and fuse them.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.kernels.compiled import kernel

PASSES = ((0, 0), (1, 1), (0, 1), (1, 0))  # (y mod 2, x mod 2) of each
OWN = 25  # window of 5 x 5 in the plane itself
OWN_MOST = 16  # of them are decoded at most: in the last pass
LEVELS = 16 * 24  # places of a logarithm, 16 a factor of two, up to 2**24
EARLIER = 9  # window of 3 x 3 in the planes before
BLOCK = 1024  # places of each pass summed at a time, at most: four passes of them stay in the first cache
WHOLE = 16  # places are summed in multiples of it, so that no loop ends in single ones


def plane_size(rows: int, stride: int) -> int:
    """Places of a plane's four phases, and those behind them that `earlier_sums` may read."""
    return 4 * rows * stride + WHOLE * (rows * stride // BLOCK + 1)


def neighbours(rows: int, stride: int) -> NDArray[np.int64]:
    """Where each neighbour of a pass in its own plane begins, of four phases [4 * rows * stride]: int64 [4, OWN]."""
    place = {phase: number for number, phase in enumerate(PASSES)}
    starts = np.zeros((4, OWN), np.int64)
    for number, (py, px) in enumerate(PASSES):
        for i in range(OWN):
            y, x = py + i // 5 - 2, px + i % 5 - 2
            phase = place[y % 2, x % 2]
            starts[number, i] = (phase * rows + 1 + y // 2) * stride + 1 + x // 2
    return starts


def available() -> NDArray[np.bool_]:
    """Which of the OWN window entries are decoded before a position: [4, OWN]."""
    place = {phase: number for number, phase in enumerate(PASSES)}
    seen = [
        [place[(py + i // 5 - 2) % 2, (px + i % 5 - 2) % 2] < number for i in range(OWN)]
        for number, (py, px) in enumerate(PASSES)
    ]
    return np.array(seen)


@kernel(fastmath=True)
def add_own(plane, weights, starts, out):  # type: ignore[no-untyped-def]
    """Adds the neighbours of one pass within its plane [size] to out [n]: weights [16] of the places starts [16].

    Four at a time: fewer passes over `out`.
    """
    n = len(out)
    for i in range(0, OWN_MOST, 4):
        u, v, w, z = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        if u == 0 and v == 0 and w == 0 and z == 0:
            continue
        a = plane[starts[i] : starts[i] + n]
        b = plane[starts[i + 1] : starts[i + 1] + n]
        c = plane[starts[i + 2] : starts[i + 2] + n]
        d = plane[starts[i + 3] : starts[i + 3] + n]
        for x in range(n):
            out[x] += u * a[x] + v * b[x] + w * c[x] + z * d[x]


@kernel(fastmath=True)
def add_plane(plane, begin, n, rows, stride, w, block):  # type: ignore[no-untyped-def]
    """Adds one earlier plane's 3 x 3 neighbours, weights w [4, 9], to n places of all four passes from `begin` on.

    block: [4 * BLOCK], pass after pass. Each of eight rows serves two columns: the compiler sees so few arrays, at
    fixed distances, that it can tell them apart before the loop, and makes vectors of it.
    """
    at = begin + stride + 1
    a = plane[at : at + n + 1]  # phase of pass 0: even rows, even columns; at this row
    ap = plane[at + stride : at + stride + n + 1]  # one row after it
    at += rows * stride - 1  # pass 1: odd rows, odd columns; from one column before
    b = plane[at : at + n + 1]
    bm = plane[at - stride : at - stride + n + 1]  # one row before it
    at += rows * stride  # pass 2: even rows, odd columns
    c = plane[at : at + n + 1]
    cp = plane[at + stride : at + stride + n + 1]
    at += rows * stride + 1  # pass 3: odd rows, even columns
    d = plane[at : at + n + 1]
    dm = plane[at - stride : at - stride + n + 1]
    p0, p1, p2, p3, p4, p5, p6, p7, p8 = w[0, 0], w[0, 1], w[0, 2], w[0, 3], w[0, 4], w[0, 5], w[0, 6], w[0, 7], w[0, 8]
    q0, q1, q2, q3, q4, q5, q6, q7, q8 = w[1, 0], w[1, 1], w[1, 2], w[1, 3], w[1, 4], w[1, 5], w[1, 6], w[1, 7], w[1, 8]
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = w[2, 0], w[2, 1], w[2, 2], w[2, 3], w[2, 4], w[2, 5], w[2, 6], w[2, 7], w[2, 8]
    s0, s1, s2, s3, s4, s5, s6, s7, s8 = w[3, 0], w[3, 1], w[3, 2], w[3, 3], w[3, 4], w[3, 5], w[3, 6], w[3, 7], w[3, 8]
    # Two passes a loop, those that share most neighbours: their 18 weights stay in registers.
    for x in range(n):
        a0, a1 = a[x], a[x + 1]
        b1, b0, b3, b2 = b[x], b[x + 1], bm[x], bm[x + 1]
        c1, c0 = c[x], c[x + 1]
        d0, d1, d2, d3 = d[x], d[x + 1], dm[x], dm[x + 1]
        block[x] += p0 * b3 + p1 * d2 + p2 * b2 + p3 * c1 + p4 * a0 + p5 * c0 + p6 * b1 + p7 * d0 + p8 * b0
        block[x + 2 * BLOCK] += r0 * d2 + r1 * b2 + r2 * d3 + r3 * a0 + r4 * c0 + r5 * a1 + r6 * d0 + r7 * b0 + r8 * d1
    for x in range(n):
        a0, a1, a2, a3 = a[x], a[x + 1], ap[x], ap[x + 1]
        b1, b0 = b[x], b[x + 1]
        c1, c0, c3, c2 = c[x], c[x + 1], cp[x], cp[x + 1]
        d0, d1 = d[x], d[x + 1]
        block[x + BLOCK] += q0 * a0 + q1 * c0 + q2 * a1 + q3 * d0 + q4 * b0 + q5 * d1 + q6 * a2 + q7 * c2 + q8 * a3
        block[x + 3 * BLOCK] += s0 * c1 + s1 * a0 + s2 * c0 + s3 * b1 + s4 * d0 + s5 * b0 + s6 * c3 + s7 * a2 + s8 * c2


@kernel
def earlier_sums(planes, places, c, weights, used, filled, bias, rows, stride, sums):  # type: ignore[no-untyped-def]
    """Bias and sums over the planes before plane c, for all passes of it, margins included: sums [4, rows * stride].

    planes [n, `plane_size`] float32, plane k at places[k]; weights [P, 4, 9] of pairs of planes, those of c from
    c (c - 1) / 2 on; used [P]: whether a pair has weights; filled [C]: whether a plane has a value other than 0. Only
    those are read.
    bias: [C, 4].
    """
    n = (rows - 2) * stride - 2  # places from the first position to the last, margins in between included
    first = c * (c - 1) // 2
    blocks = -(-n // BLOCK)
    whole = -(-n // (blocks * WHOLE)) * WHOLE
    block = np.empty(4 * BLOCK, np.float32)
    for begin in range(0, n, whole):
        for s in range(4):
            part, start = block[s * BLOCK : s * BLOCK + whole], bias[c, s]
            for x in range(whole):
                part[x] = start
        for k in range(c):
            if used[first + k] and filled[k]:
                add_plane(planes[places[k]], begin, whole, rows, stride, weights[first + k], block)
        for s in range(4):
            part, to = block[s * BLOCK : s * BLOCK + whole], sums[s, begin : min(begin + whole, n)]
            for x in range(len(to)):
                to[x] = part[x]
