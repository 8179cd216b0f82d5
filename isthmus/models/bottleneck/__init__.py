# SPDX-License-Identifier: Apache-2.0
"""Heads that run on a device: a few layers, and a narrow grid of integers that goes on to a server."""

from isthmus.models.bottleneck.config import FACTOR, HIGH, LOW, BottleneckConfig
from isthmus.models.bottleneck.head import BottleneckHead
from isthmus.models.bottleneck.training import Bottleneck

__all__ = ["FACTOR", "HIGH", "LOW", "Bottleneck", "BottleneckConfig", "BottleneckHead"]
