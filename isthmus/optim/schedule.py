# SPDX-License-Identifier: Apache-2.0
"""Learning rates over a training, as a factor of their top."""

import math

import torch


def warmup_cosine(step: int, steps: int, warmup: int, least: float = 0.01) -> float:
    """Linear over the first `warmup` steps, then half a cosine down to `least` at the last of `steps`."""
    progress = min(1.0, step / max(1, steps))
    return min(1.0, (step + 1) / warmup) * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * progress)))


def short_warmup(steps: int, warmup: int) -> int:
    """Steps of a rise in a training of so many: a fifth of those at most."""
    return max(1, min(warmup, steps // 5))


def one_cycle(optimizer: torch.optim.Optimizer, rate: float, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Up to `rate` over a tenth of the steps, then down to nothing (Smith and Topin, arXiv 1708.07120)."""
    # torch divides by 0 where a tenth is one step, and has no cycle of fewer.
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(11, steps), pct_start=0.1)
