# SPDX-License-Identifier: Apache-2.0
"""How a head is trained: everything that decides its curve beside the data."""

from dataclasses import dataclass
from typing import Any

MOST_RATE = 1e12
PRECISIONS = ("float32", "bfloat16")
MIXINGS = ("none", "mixup", "cutmix", "both")


def refuse_wrong(recipe: Any, wrong: dict[str, bool]) -> None:
    """Raises ValueError for the first setting of a recipe that is wrong. wrong: by name of each, whether it is."""
    name = next((name for name, is_wrong in wrong.items() if is_wrong), None)
    if name is not None:
        known = {"mixing": MIXINGS, "precision": PRECISIONS}.get(name)
        told = f"; expected one of {', '.join(known)}" if known else ""
        raise ValueError(f"recipe: {name} = {getattr(recipe, name)!r} cannot be followed{told}")


@dataclass(frozen=True)
class HeadRecipe:
    """`epochs` times all labelled samples, in steps of `batch`, each of `accumulate` parts.

    rate: top of AdamW's learning rate, which rises over `warmup` steps, a fifth of all at most, and falls along
    half a cosine. decay: of weights of matrices and filters. average: of the moving average of weights that is
    kept. smoothing: of labels. mixing: "mixup", "cutmix" or "both" in turn. flip: share of samples of images that
    are flipped left to right. crop: cells of random squares of images, frames of random stretches of sound; 0 takes
    all. precision: "float32", or "bfloat16" where the device multiplies it. clip: of the norm of gradients.
    """

    head: str = "convnext-s"
    epochs: float = 40.0
    batch: int = 128
    accumulate: int = 1
    rate: float = 1.5e-3
    warmup: int = 100
    decay: float = 0.05
    average: float = 0.998
    smoothing: float = 0.1
    mixing: str = "both"
    flip: float = 0.5
    crop: int = 0
    precision: str = "float32"
    clip: float = 2.0
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError for what cannot be followed."""
        refuse_wrong(self, {
            "epochs": not 0 < self.epochs < 1e6, "batch": self.batch < 1, "accumulate": self.accumulate < 1,
            "rate": not 0 < self.rate < MOST_RATE, "decay": not 0 <= self.decay < 1,
            "seed": not 0 <= self.seed < 1 << 31, "warmup": self.warmup < 1, "average": not 0 <= self.average < 1,
            "smoothing": not 0 <= self.smoothing < 1, "mixing": self.mixing not in MIXINGS,
            "flip": not 0 <= self.flip <= 1, "crop": self.crop < 0, "clip": not self.clip > 0,
            "precision": self.precision not in PRECISIONS,
        })  # fmt: skip
        if self.batch % self.accumulate:
            raise ValueError(f"recipe: batch {self.batch} is no multiple of accumulate {self.accumulate}")

    def steps(self, samples: int) -> int:
        """How many steps `epochs` over so many samples are, at least one."""
        return max(1, round(self.epochs * samples / self.batch))
