# SPDX-License-Identifier: Apache-2.0
"""Couplings of little entropy between two distributions: which index of one codec goes with which of another.

Two codecs whose indices are drawn from p and q can be matched by any joint distribution with these margins. One of
little joint entropy keeps the most mutual information, H(p) + H(q) - H(joint). Finding the least is NP-hard; the greedy
choice, the largest masses first, is within log2(e) bits (Kocaoglu et al., "Entropic causal inference", arXiv
1611.04035; Compton et al., arXiv 2302.11838).
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def entropy(p: ArrayLike) -> float:
    """Bits of a distribution of any shape."""
    mass = np.asarray(p, np.float64)
    mass = mass[mass > 0]
    return float(-(mass * np.log2(mass)).sum())


def couple(p: ArrayLike, q: ArrayLike) -> Float64:
    """A joint distribution [len(p), len(q)] with margins p and q, of little entropy.

    Each step joins what is left of the largest mass of both; there are at most len(p) + len(q) - 1 masses then. Raises
    ValueError for what is no distribution.
    """
    left, right = _checked(p, "p"), _checked(q, "q")
    joint = np.zeros((len(left), len(right)))
    rows, columns = ([(-mass, place) for place, mass in enumerate(margin) if mass > 0] for margin in (left, right))
    heapq.heapify(rows)
    heapq.heapify(columns)
    while rows and columns:
        (a, i), (b, j) = heapq.heappop(rows), heapq.heappop(columns)
        mass = min(-a, -b)
        joint[i, j] += mass
        for heap, rest, place in ((rows, -a - mass, i), (columns, -b - mass, j)):
            if rest > 1e-15:  # what rounding left is none
                heapq.heappush(heap, (-rest, place))
    return joint


@dataclass(frozen=True)
class Bottleneck:
    """index: which of the merged values each of p is, int64 [len(p)]; merged: their masses; joint: coupled with q."""

    index: NDArray[np.int64]
    merged: Float64
    joint: Float64

    @property
    def information(self) -> float:
        """Mutual information in bits of what was coupled."""
        return entropy(self.joint.sum(0)) + entropy(self.joint.sum(1)) - entropy(self.joint)


def couple_through(p: ArrayLike, q: ArrayLike, bits: float) -> Bottleneck:
    """A coupling through a code of p of at most `bits` of entropy: values are merged, the least first, then coupled.

    After Ebrahimi, Chen and Khisti, "Minimum Entropy Coupling with Bottleneck" (arXiv 2410.21666): a deterministic map
    of p loses the least information for a rate when it merges what is rare. Raises ValueError for what is no
    distribution, and for bits below 0.
    """
    masses, other = _checked(p, "p"), _checked(q, "q")
    if not bits >= 0:
        raise ValueError(f"couple_through: {bits} bits, expected 0 or more")
    groups = [[place] for place in range(len(masses))]
    heap = [(mass, place) for place, mass in enumerate(masses.tolist())]
    heapq.heapify(heap)
    now = entropy(masses)
    while now > bits and len(heap) > 1:
        (a, i), (b, j) = heapq.heappop(heap), heapq.heappop(heap)
        groups[j] += groups[i]
        now += _term(a + b) - _term(a) - _term(b)
        heapq.heappush(heap, (a + b, j))
    kept = sorted(place for _, place in heap)
    index = np.empty(len(masses), np.int64)
    for number, place in enumerate(kept):
        index[groups[place]] = number
    merged: Float64 = np.bincount(index, masses, len(kept)).astype(np.float64)
    return Bottleneck(index, merged, couple(merged, other))


def _term(mass: float) -> float:
    return float(-mass * np.log2(mass)) if mass > 0 else 0.0


def _checked(p: ArrayLike, name: str) -> Float64:
    mass = np.asarray(p, np.float64)
    if mass.ndim != 1 or not mass.size or not np.isfinite(mass).all() or (mass < 0).any():
        raise ValueError(f"coupling: {name} of shape {mass.shape}, expected masses [n] of at least 0, not empty")
    if abs(mass.sum() - 1) > 1e-6:
        raise ValueError(f"coupling: the masses of {name} sum to {mass.sum()}, expected 1")
    return mass / mass.sum()
