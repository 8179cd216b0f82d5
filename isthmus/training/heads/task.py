# SPDX-License-Identifier: Apache-2.0
"""What differs between trainings of heads: what is asked of a sample, the loss, and how heads are judged."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Judged(Protocol):
    """How good a head is on a data set; it has the numbers that the curve shows as attributes too."""

    def describe(self) -> dict[str, Any]:
        """As JSON values, for the head's file and for people."""


class Task(Protocol):
    """One way to train heads; `run.train_head` does the rest.

    name: of the task in a head's file. outputs, classes: of the head. columns: attributes of what `judge` gives, for
    the curve. config: what decides the curve beside the recipe and the latents. validation: the
    `LatentDataset` that heads are judged on, or None. samples: a torch data set, of what
    `LatentDataset.collate` takes; indices: of those that are trained on. notes: lines for people, said once.
    """

    name: str
    outputs: int
    classes: list[str] | None
    columns: tuple[str, ...]
    config: dict[str, Any]
    validation: Any
    samples: Any
    indices: NDArray[np.int64]
    notes: list[str]

    def begin(self, head: nn.Module) -> None:
        """Changes a new head, on the CPU, before it is trained; most tasks begin with random weights."""
        return

    def shown(self, y: Tensor, part: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Dequantized latents [n, c, *grid] of a batch and what is asked of them, augmented, on the device of `y`."""

    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of what the head gave, float32, and what `shown` said is right."""

    def judge(self, head: nn.Module) -> Judged | None:
        """On what is kept out; None where there is nothing."""
