# SPDX-License-Identifier: Apache-2.0
"""Samples at one rate to samples at another, block by block; the result does not depend on the blocks.

Beyond both ends a signal is continued by whole-sample symmetric extension (docs/format.md, "Padding").
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.kernels import tier
from isthmus.kernels.resample import polyphase, reference
from isthmus.kernels.resample.filters import phase_filters, ratio

F32 = NDArray[np.float32]
PLAIN_TAP = 2e-8  # seconds of one product of the plain twin


def mirrored(first: int, last: int, count: int) -> NDArray[np.int64]:
    """The places among `count` samples that stand for first .. last (exclusive), also beyond both ends."""
    places = np.arange(first, last)
    if count < 2:
        return np.zeros_like(places)
    period = 2 * (count - 1)
    inside = places % period
    return np.minimum(inside, period - inside)


def resampled_length(count: int, before: int, after: int) -> int:
    """Samples after of `count` before: as many as have their place before the end."""
    p, q = ratio(before, after)
    return -(-count * p // q)


class Resampler:
    """From rate `before` to rate `after`, both in Hz. `push` blocks, then `finish`.

    begin: the place of the first sample that will be pushed; first: the first sample wanted after. With begin > 0 the
    blocks MUST reach back far enough for that (`needs`).
    """

    def __init__(self, before: int, after: int, channels: int, *, begin: int = 0, first: int = 0) -> None:
        self.before, self.after = before, after
        self.p, self.q = ratio(before, after)
        self._taps = phase_filters(before, after) if self.p != self.q else np.zeros((1, 2), np.float32)
        self._begin, self._next = begin, first
        self._held = np.zeros((channels, 0), np.float32)

    @staticmethod
    def needs(before: int, after: int, first: int, last: int) -> tuple[int, int]:
        """The samples before, first .. last (exclusive), that samples first .. last after are made of.

        They may lie beyond the ends.
        """
        p, q = ratio(before, after)
        if p == q:
            return first, last
        half = phase_filters(before, after).shape[1] // 2
        return first * q // p + 1 - half, (last - 1) * q // p + 1 + half

    def push(self, block: F32) -> F32:
        """The samples [C, n] that are known with one more block [C, m]."""
        if self.p == self.q:
            skipped = max(0, self._next - self._begin)
            self._begin += block.shape[1]
            self._next = max(self._next, self._begin)
            return block[:, skipped:]
        self._held = np.concatenate([self._held, block], 1)
        half, there = self._taps.shape[1] // 2, self._begin + self._held.shape[1]
        if self._begin == 0 and there <= half:
            return self._held[:, :0]  # the mirror image before the beginning is not there yet
        # The last sample before that y[m] needs is floor(m q / p) + half.
        return self._take((there - 1 - half) * self.p // self.q + 1 if there > half else 0, there)

    def finish(self, last: int | None = None) -> F32:
        """The rest, up to sample `last` after if it is given."""
        there = self._begin + self._held.shape[1]
        end = resampled_length(there, self.before, self.after)
        end = end if last is None else min(end, last)
        return self._held[:, :0] if self.p == self.q or there == 0 else self._take(end, there, closed=True)

    def _take(self, last: int, there: int, *, closed: bool = False) -> F32:
        first = self._next
        if last <= first:
            return self._held[:, :0]
        low, high = self.needs(self.before, self.after, first, last)
        if low < self._begin or high > there:
            places = mirrored(low, high, there) if closed else np.abs(np.arange(low, high))
            source, begin = self._held[:, places - self._begin], low
        else:
            source, begin = self._held, self._begin
        target = np.empty((len(source), last - first), np.float32)
        work = target.size * self._taps.shape[1]
        apply = tier.pick(polyphase.apply_phases, reference.apply_phases, work * PLAIN_TAP)
        apply(np.ascontiguousarray(source), begin, self._taps, self.q, first, target)
        self._next = last
        keep = max(
            self._begin, min(self.needs(self.before, self.after, last, last + 1)[0], there - 2 * len(self._taps[0]))
        )
        self._held, self._begin = self._held[:, keep - self._begin :], keep
        return target


def resample(x: F32, before: int, after: int) -> F32:
    """All of float32 [C, T] at once: [C, ceil(T after / before)]."""
    whole = Resampler(before, after, len(x))
    return np.concatenate([whole.push(np.ascontiguousarray(x, np.float32)), whole.finish()], 1)
