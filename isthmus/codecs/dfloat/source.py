# SPDX-License-Identifier: Apache-2.0
"""Weights as an encoder reads them: a run or a sample at a time, relative to a base or not, split into planes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat.payload import CHUNK, RANS
from isthmus.codecs.dfloat.scratch import scratch
from isthmus.kernels.native.read_only import read_only
from isthmus.kernels.weights import planes as weight_planes

RUN = CHUNK[RANS]  # weights that share a table, and that a thread takes at a time
SAMPLES, SAMPLE = 16, 1 << 12  # slices, and weights of each, by which the codings to try are chosen


class Source:
    """weights: uint8, uint16 or uint32 [n], contiguous; base: None, or the same kind, to be XOR with them.

    width: bytes a weight; count: n; runs: number of runs of RUN weights.
    """

    def __init__(self, weights: NDArray[Any], base: NDArray[Any] | None) -> None:
        self._weights, self._base = read_only(weights), base
        self.width, self.count = weights.itemsize, len(weights)
        self.runs = -(-self.count // RUN)

    def part(self, begin: int, end: int) -> NDArray[Any]:
        """Weights begin..end, as the kernels take them: aligned and read-only."""
        part = self._weights[begin:end]
        if self._base is not None:
            return read_only(part ^ self._base[begin:end])
        return part if part.flags.aligned else read_only(part.copy())  # a mapped tensor may begin at any byte

    def run(self, number: int) -> NDArray[Any]:
        return self.part(number * RUN, (number + 1) * RUN)

    def split(self, run: int, targets: Sequence[Bytes | None] = ()) -> list[Bytes]:
        """The planes of a run, in `targets` or, where there is none or None, in memory of this thread."""
        part = self.run(run)
        targets = targets or [None] * self.width
        found = [scratch(f"plane{k}", RUN)[: len(part)] if t is None else t for k, t in enumerate(targets)]
        _split(part, found)
        return found

    def sample(self) -> list[Bytes]:
        """The planes of SAMPLES slices, one behind the other."""
        step = max(SAMPLE, self.count // SAMPLES)
        slices = [self.part(begin, begin + SAMPLE) for begin in range(0, self.count, step)]
        part = read_only(np.concatenate(slices)) if slices else self.part(0, 0)
        found = [np.empty(len(part), np.uint8) for _ in range(self.width)]
        _split(part, found)
        return found


def _split(part: NDArray[Any], found: list[Bytes]) -> None:
    if len(found) == 1:
        found[0][:] = part
    else:
        (weight_planes.split2 if len(found) == 2 else weight_planes.split4)(part, *found)
