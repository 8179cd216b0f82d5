# SPDX-License-Identifier: Apache-2.0
"""Learning rates over a training, as a factor of their top."""

import math


def warmup_cosine(step: int, steps: int, warmup: int, least: float = 0.01) -> float:
    """Linear over the first `warmup` steps, then half a cosine down to `least` at the last of `steps`."""
    progress = min(1.0, step / max(1, steps))
    return min(1.0, (step + 1) / warmup) * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * progress)))
