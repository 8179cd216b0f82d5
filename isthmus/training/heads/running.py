# SPDX-License-Identifier: Apache-2.0
"""How a training of a head runs, beside what decides its curve."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Running:
    """device: "cpu", "cuda" or "cuda:N". workers: processes that read; 0: this one.

    minutes: it stops after this time, the same call goes on. save_minutes: between checkpoints; below 0, every step.
    tensorboard: log for TensorBoard too. init: a trained head, or its run, whose weights it begins with. accelerator:
    an `accelerate.Accelerator` that says what device and processes there are, and in what precision they multiply.
    """

    device: str = "cpu"
    workers: int = 0
    minutes: float = math.inf
    save_minutes: float = 3.0
    tensorboard: bool = False
    init: Path | None = None
    accelerator: Any = None
