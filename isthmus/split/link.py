# SPDX-License-Identifier: Apache-2.0
"""A link between a device and a server, simulated: when messages arrive that were sent at some times.

A message is cut into packets. They pass the line one after the other, in the order of sending, and are on their way for
half a round trip and some jitter. One that is lost is sent again once nobody has confirmed it, ever later; the line is
charged with all its journeys. A message has arrived with its last packet, and never before one that was sent earlier,
as over TCP. What chance does to a packet does not depend on the bandwidth, so that links compare at equal fortune.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PACKET, HEADERS = 1448, 52  # bytes of a message in a packet, and of IP and TCP beside them
LEAST_WAIT = 0.2  # seconds until a packet counts as lost, as TCP of Linux has it
MOST_LOSS = 0.5


@dataclass(frozen=True)
class Link:
    """One direction of a link. bandwidth: bits a second. round_trip: seconds. loss: share of packets, 0 to 0.5.

    jitter: mean seconds by which packets are late, at random (exponential). seed: of all chance.
    Raises ValueError for values that no link has.
    """

    bandwidth: float
    round_trip: float
    loss: float = 0.0
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ValueError(f"link: a bandwidth of {self.bandwidth} bits a second, expected more than 0")
        if not 0 <= self.loss <= MOST_LOSS:
            raise ValueError(f"link: a loss of {self.loss}, expected a share from 0 to {MOST_LOSS}")
        for name in ("round_trip", "jitter"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"link: {name} of {value} seconds, expected 0 or more")

    def arrivals(self, departures: Sequence[float], sizes: Sequence[int]) -> NDArray[np.float64]:
        """Seconds at which messages have arrived. departures: seconds, none before the one in front of it.

        sizes: bytes of each. The same seed, departures and sizes give the same times. Raises ValueError.
        """
        times, many = np.asarray(departures, np.float64), np.asarray(sizes, np.int64)
        if times.ndim != 1 or times.shape != many.shape:
            raise ValueError(f"link: {times.shape} departures for {many.shape} sizes, expected as many, in a row")
        if not np.isfinite(times).all() or (np.diff(times) < 0).any() or (many < 0).any():
            raise ValueError("link: expected departures in order, and sizes of 0 bytes or more")
        counts = np.maximum(1, -(-many // PACKET))
        owner = np.repeat(np.arange(len(many)), counts)
        last = np.cumsum(counts) - 1
        held = np.full(len(owner), float(PACKET))
        held[last] = many - (counts - 1) * PACKET
        journeys, late, waited = self._chance(len(owner))
        busy = (held + HEADERS) * 8 / self.bandwidth * journeys
        passed = np.empty(len(owner))
        free = 0.0 if not len(times) else times[0]
        for packet, begin in enumerate(times[owner]):
            free = passed[packet] = max(free, begin) + busy[packet]
        landed = passed + waited + self.round_trip / 2 + late
        return np.maximum.accumulate(landed)[last] if len(last) else landed

    def _chance(self, packets: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Of each packet: how often it is sent, seconds of jitter, and seconds that were waited before its last try."""
        random = np.random.default_rng(self.seed)
        journeys = random.geometric(1 - self.loss, packets)
        late = random.exponential(1.0, packets) * self.jitter
        patience = max(LEAST_WAIT, self.round_trip + 4 * self.jitter)
        return journeys, late, patience * (2.0 ** np.minimum(journeys - 1, 16) - 1)  # each wait is twice the one before
