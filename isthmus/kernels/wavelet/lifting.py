# SPDX-License-Identifier: Apache-2.0
"""The lifting steps of `reference` as vector loops over polyphase planes, in place, in the same order.

With P = 2**levels, sample P * i + p of a line is element i of plane p. Every level of the packet tree then runs with
unit stride: at level l the pairs of node o are the planes o + 2 q t and o + 2 q t + q (q = 2**l), and the neighbour
beyond the last plane is plane o one position further. When done, bit l of a plane's number says whether level l + 1
took the high band. Along x the lines of a small block lie end to end in each plane; along y the elements are rows.

Two steps at a time are fused where no border is near: each row is then read and written once for two steps. Four
different rows are also as many as LLVM tests for overlap before a vector loop.

numba's cache watches only the file of the function that is called from Python (here `packets`): after an edit of
this file, delete `__pycache__/*.nb?` beside it. Both directions have functions of their own, so that who only encodes
compiles no synthesis.
"""

from isthmus.kernels.compiled import kernel
from isthmus.kernels.wavelet.reference import ALPHA, BETA, DELTA, GAMMA

COLUMNS = 256  # columns lifted along y at once, so that a strip of them stays in the L2 cache


@kernel
def copy_run(target, to, source, start, n):  # type: ignore[no-untyped-def]
    """A slice assignment without numba's check of shapes, whose message alone takes seconds to compile."""
    x, y = target[to : to + n], source[start : start + n]
    for i in range(n):
        x[i] = y[i]


@kernel
def _lift(buffer, target, a, b, c, n):  # type: ignore[no-untyped-def]
    """target += c * (a + b), rows of n values at these offsets; `a` may be `b`."""
    x, y, z = buffer[target : target + n], buffer[a : a + n], buffer[b : b + n]
    for i in range(n):
        x[i] = x[i] + c * (y[i] + z[i])


@kernel
def _lift_two(buffer, first, second, other, before, c1, c2, n):  # type: ignore[no-untyped-def]
    """first += c1 * (second + other), then second += c2 * (before + first), in one pass over four different rows."""
    x, y = buffer[first : first + n], buffer[second : second + n]
    z, u = buffer[other : other + n], buffer[before : before + n]
    for i in range(n):
        value = x[i] + c1 * (y[i] + z[i])
        x[i] = value
        y[i] = y[i] + c2 * (u[i] + value)


@kernel
def _advance(planes, offsets, node, step, t, pairs, c1, c2, start, n):  # type: ignore[no-untyped-def]
    """Analysis along y at pair t: d[t] += c1 * (s[t] + s[t + 1]), then s[t] += c2 * (d[t - 1] + d[t])."""
    y = node + 2 * step * t
    s, d = start + offsets[y], start + offsets[y + step]
    if 0 < t < pairs - 1:
        _lift_two(planes, d, s, start + offsets[y + 2 * step], start + offsets[y - step], c1, c2, n)
    else:
        _lift(planes, d, s, start + offsets[y + 2 * step] if t < pairs - 1 else s, c1, n)
        _lift(planes, s, start + offsets[y - step] if t > 0 else d, d, c2, n)


@kernel
def _retreat(planes, offsets, node, step, t, pairs, c1, c2, start, n):  # type: ignore[no-untyped-def]
    """Synthesis along y at pair t: s[t] -= c1 * (d[t - 1] + d[t]), then d[t - 1] -= c2 * (s[t - 1] + s[t])."""
    y = node + 2 * step * t
    if t == 0:
        d = start + offsets[y + step]
        _lift(planes, start + offsets[y], d, d, -c1, n)
    elif t < pairs:
        s, d, before = start + offsets[y], start + offsets[y - step], start + offsets[y - 2 * step]
        _lift_two(planes, s, d, start + offsets[y + step], before, -c1, -c2, n)
    else:
        s = start + offsets[y - 2 * step]
        _lift(planes, start + offsets[y - step], s, s, -c2, n)


@kernel
def split_rows(planes, offsets, levels, base, width):  # type: ignore[no-untyped-def]
    """Analysis of all levels along y, in place; offsets[y] is where row y of the strip begins after `base`."""
    for left in range(0, width, COLUMNS):
        start, n = base + left, min(COLUMNS, width - left)
        for level in range(levels):
            step, pairs = 1 << level, len(offsets) >> (level + 1)
            for node in range(step):
                for t in range(pairs + 1):
                    if t < pairs:
                        _advance(planes, offsets, node, step, t, pairs, ALPHA, BETA, start, n)
                    if t > 0:
                        _advance(planes, offsets, node, step, t - 1, pairs, GAMMA, DELTA, start, n)


@kernel
def split_short_rows(planes, base, stride, levels, width, rows):  # type: ignore[no-untyped-def]
    """`split_rows` of rows so short that a loop over each costs more than its steps: over whole planes, as along x.

    Planes of `rows` rows begin `stride` apart after `base`, with room for a row before and behind each of them.
    """
    n = rows * width
    for level in range(levels):
        step = stride << level
        pairs = (1 << levels) >> (level + 1)
        for node in range(1 << level):
            s0 = base + node * stride
            s1 = s0 + 2 * step * (pairs - 1)
            d0, d1 = s0 + step, s1 + step
            for stage in range(2):
                c1, c2 = (ALPHA, BETA) if stage == 0 else (GAMMA, DELTA)
                copy_run(planes, s0 + n, planes, s1 + n - width, width)  # s[n] = s[n - 1]
                _lift(planes, d0, s0, s0 + 2 * step if pairs > 1 else s0 + width, c1, n)
                for t in range(1, pairs):
                    s = s0 + 2 * step * t
                    after = s + 2 * step if t < pairs - 1 else s0 + width
                    _lift_two(planes, s + step, s, after, s - step, c1, c2, n)
                copy_run(planes, d1 - width, planes, d0, width)  # d[-1] = d[0]
                _lift(planes, s0, d1 - width, d0, c2, n)


@kernel
def merge_rows(planes, offsets, levels, base, width):  # type: ignore[no-untyped-def]
    """The inverse of `split_rows`."""
    for left in range(0, width, COLUMNS):
        start, n = base + left, min(COLUMNS, width - left)
        for level in range(levels - 1, -1, -1):
            step, pairs = 1 << level, len(offsets) >> (level + 1)
            for node in range(step):
                for t in range(pairs + 2):
                    if t <= pairs:
                        _retreat(planes, offsets, node, step, t, pairs, DELTA, GAMMA, start, n)
                    if t > 0:
                        _retreat(planes, offsets, node, step, t - 1, pairs, BETA, ALPHA, start, n)


@kernel
def _copy_borders(buffer, target, source, pitch, rows):  # type: ignore[no-untyped-def]
    for row in range(rows):
        buffer[target + row * pitch] = buffer[source + row * pitch]


@kernel
def split_columns(buffer, base, stride, levels, width, rows):  # type: ignore[no-untyped-def]
    """Analysis of all levels along x, in place, of `rows` lines one after another in each plane, width + 1 apart.

    The value after a line (before the next) stands for the neighbour beyond the border. The loops run over all lines
    at once, and what they write there is never read before it is set again.
    """
    pitch = width + 1
    n = rows * pitch - 1
    for level in range(levels):
        step = stride << level
        pairs = (1 << levels) >> (level + 1)
        for node in range(1 << level):
            s0 = base + node * stride
            s1 = s0 + 2 * step * (pairs - 1)
            d0, d1 = s0 + step, s1 + step
            for stage in range(2):
                c1, c2 = (ALPHA, BETA) if stage == 0 else (GAMMA, DELTA)
                _copy_borders(buffer, s0 + width, s1 + width - 1, pitch, rows)  # s[n] = s[n - 1]
                _lift(buffer, d0, s0, s0 + 2 * step if pairs > 1 else s0 + 1, c1, n)
                for t in range(1, pairs):
                    s = s0 + 2 * step * t
                    after = s + 2 * step if t < pairs - 1 else s0 + 1
                    _lift_two(buffer, s + step, s, after, s - step, c1, c2, n)
                _copy_borders(buffer, d1 - 1, d0, pitch, rows)  # d[-1] = d[0]
                _lift(buffer, s0, d1 - 1, d0, c2, n)


@kernel
def merge_columns(buffer, base, stride, levels, width, rows):  # type: ignore[no-untyped-def]
    """The inverse of `split_columns`."""
    pitch = width + 1
    n = rows * pitch - 1
    for level in range(levels - 1, -1, -1):
        step = stride << level
        pairs = (1 << levels) >> (level + 1)
        for node in range(1 << level):
            s0 = base + node * stride
            s1 = s0 + 2 * step * (pairs - 1)
            d0, d1 = s0 + step, s1 + step
            for stage in range(2):
                c1, c2 = (-DELTA, -GAMMA) if stage == 0 else (-BETA, -ALPHA)
                _copy_borders(buffer, d1 - 1, d0, pitch, rows)
                _lift(buffer, s0, d1 - 1, d0, c1, n)
                for t in range(1, pairs):
                    s = s0 + 2 * step * t
                    _lift_two(buffer, s, s - step, s + step, s - 2 * step, c1, c2, n)
                _copy_borders(buffer, s0 + width, s1 + width - 1, pitch, rows)
                _lift(buffer, d1, s1, s0 + 1, c2, n)
