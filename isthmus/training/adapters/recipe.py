# SPDX-License-Identifier: Apache-2.0
"""How an adapter is trained: everything that decides its curve beside the photographs."""

from dataclasses import dataclass

from isthmus.training.heads.recipe import MOST_RATE, PRECISIONS, refuse_wrong


@dataclass(frozen=True)
class AdapterRecipe:
    """Three stages. `tuning` steps: the backbone learns the classes of the photographs, from pixels (none without
    labels: it keeps those of ImageNet). `features` steps: the adapter learns the features that pixels give. `steps`
    more: adapter and all behind it learn what the tuned backbone says, and labels.

    batch: photographs a step. low, high: qualities of latents, drawn anew for groups of a batch, the lower ones
    more often. teacher_rate, adapter_rate, tail_rate: tops of AdamW's learning rate, which rises over `warmup`
    steps, a fifth of a stage at most, and falls along half a cosine. decay: of weights of matrices and filters.
    average: of the moving average of weights that is kept. smoothing: of labels in the first stage; labels: their
    share of the loss in the last. mixup: share of batches that are mixtures of two photographs. area: least share
    of a photograph that is shown; cells of `size` pixels are cut, kept-out photographs of `resize` pixels along
    their shorter side show their middle. precision: "float32", or "bfloat16" where the device multiplies it. clip:
    of the norm of gradients.
    """

    backbone: str = "efficientnet"
    codec: str = "walloc-image-f8c12"
    tuning: int = 1500
    features: int = 1500
    steps: int = 8000
    batch: int = 128
    low: int = 1
    high: int = 100
    teacher_rate: float = 4e-4
    adapter_rate: float = 1e-3
    tail_rate: float = 4e-4
    warmup: int = 200
    decay: float = 0.02
    average: float = 0.999
    smoothing: float = 0.1
    labels: float = 0.2
    mixup: float = 0.5
    area: float = 0.3
    size: int = 224
    resize: int = 256
    precision: str = "float32"
    clip: float = 2.0
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError for what cannot be followed."""
        refuse_wrong(self, {
            "tuning": self.tuning < 0, "features": self.features < 0, "steps": self.steps < 1,
            "batch": self.batch < 2, "low": not 1 <= self.low <= 100, "high": not self.low <= self.high <= 100,
            "teacher_rate": not 0 < self.teacher_rate < MOST_RATE,
            "adapter_rate": not 0 < self.adapter_rate < MOST_RATE, "tail_rate": not 0 < self.tail_rate < MOST_RATE,
            "seed": not 0 <= self.seed < 1 << 31, "warmup": self.warmup < 1, "decay": not 0 <= self.decay < 1,
            "average": not 0 <= self.average < 1, "smoothing": not 0 <= self.smoothing < 1,
            "labels": not 0 <= self.labels <= 1, "mixup": not 0 <= self.mixup <= 1, "area": not 0 < self.area <= 1,
            "size": self.size < 32, "resize": self.resize < self.size, "clip": not self.clip > 0,
            "precision": self.precision not in PRECISIONS,
        })  # fmt: skip
