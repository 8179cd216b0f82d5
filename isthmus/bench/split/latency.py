# SPDX-License-Identifier: Apache-2.0
"""From a picture to its answer, over links that are simulated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isthmus.bench.split.measure import Measured
from isthmus.split.link import Link

ANSWER = 256  # bytes of an answer
APART = 1e4  # seconds between pictures, so that none waits for another
BANDWIDTHS = tuple(float(f"{10 ** (k / 4):.3g}") * 1e5 for k in range(13))  # bits a second, 0.1 to 100 million


@dataclass(frozen=True)
class Latency:
    """Seconds from a picture to its answer: medians and 95th percentiles at each bandwidth."""

    measured: Measured
    p50: NDArray[np.float64]
    p95: NDArray[np.float64]


def latencies(measured: Measured, link: Link, bandwidths: Sequence[float] = BANDWIDTHS, slower: float = 1.0) -> Latency:
    """slower: times that a device takes as long as this machine."""
    head, pack, unpack, tail = measured.seconds
    sizes = measured.sizes[: len(head)]
    found = []
    for bandwidth in bandwidths:
        total = slower * (head + pack) + unpack + tail
        if sizes.any():
            line = replace(link, bandwidth=bandwidth)
            sent = APART * np.arange(len(sizes))
            there = line.arrivals(sent.tolist(), sizes.tolist()) - sent
            back = replace(line, seed=line.seed + 1).arrivals(sent.tolist(), [ANSWER] * len(sizes)) - sent
            total = total + there + back
        found.append(total)
    table = np.array(found)
    return Latency(measured, np.median(table, 1), np.quantile(table, 0.95, 1))


def crossing(one: Latency, other: Latency, bandwidths: Sequence[float] = BANDWIDTHS) -> float | None:
    """The bandwidth, in bits a second, from which on `other` is no slower than `one`; None if never or always."""
    gain = np.log(other.p50) - np.log(one.p50)
    x = np.log(np.asarray(bandwidths))
    for k in range(len(x) - 1):
        if gain[k] > 0 >= gain[k + 1]:
            share = gain[k] / (gain[k] - gain[k + 1])
            return float(np.exp(x[k] + share * (x[k + 1] - x[k])))
    return None
