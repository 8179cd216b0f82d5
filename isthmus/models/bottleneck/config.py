# SPDX-License-Identifier: Apache-2.0
"""The shape of a bottleneck, which training and device share."""

from dataclasses import dataclass

LOW, HIGH = -128, 127  # symbols of 8 bits
FACTOR = 8
QUALITIES = 100


@dataclass(frozen=True)
class BottleneckConfig:
    """channels: of the grid. width: of the layer before it. gain_levels: trained points on the quality scale."""

    channels: int = 12
    width: int = 64
    gain_levels: int = 8

    @property
    def factor(self) -> int:
        """Pixels of a place of the grid, along each axis."""
        return FACTOR
