# SPDX-License-Identifier: Apache-2.0
"""How a split network is trained: everything that decides its curve beside the photographs."""

from dataclasses import dataclass

from isthmus.models.bottleneck import BottleneckConfig
from isthmus.training.adapters.recipe import AdapterRecipe
from isthmus.training.heads.recipe import refuse_wrong

MOST_PRICE = 1e3


@dataclass(frozen=True)
class SplitRecipe(AdapterRecipe):
    """As `AdapterRecipe`, with a bottleneck that is trained before its stages of latents, at all qualities at once.

    `features` steps: bottleneck and adapter learn the features that the teacher has at its place and at the modules
    `watching` behind that, paths with commas between them (generalised head-network distillation, Matsubara et al.,
    ICPR 2020, arXiv 2007.15818). `joint` steps: they and all behind learn what the teacher says, and labels. Both pay
    for bits: low_price and high_price are those of a bit at the lowest and the highest quality. `steps` more: the
    bottleneck stands still, in integers as devices compute it, and what reads it learns on (Entropic Student,
    Matsubara et al., WACV 2022, arXiv 2108.09628). contexts: steps of the context model of what it sends; 0: factorized
    tables alone. channels: of the bottleneck. at: the path of the module in the
    backbone whose output is replaced; "" is the usual one.
    """

    channels: int = 12
    at: str = ""
    watching: str = ""
    joint: int = 4000
    low_price: float = 3e-5
    high_price: float = 2e-6
    bottleneck_rate: float = 1e-3
    contexts: int = 2000

    @property
    def watched(self) -> tuple[str, ...]:
        """Paths in a `Backbone`."""
        return tuple(f"network.{path.strip()}" for path in self.watching.split(",") if path.strip())

    @property
    def bottleneck(self) -> BottleneckConfig:
        """Its shape."""
        return BottleneckConfig(self.channels)

    def check(self) -> None:
        """Raises ValueError for what cannot be followed."""
        super().check()
        refuse_wrong(self, {
            "channels": not 1 <= self.channels <= 64, "joint": self.joint < 0,
            "contexts": self.contexts < 0,
            "features": self.features + self.joint < 1,
            "low_price": not 0 < self.low_price < MOST_PRICE, "high_price": not 0 < self.high_price <= self.low_price,
            "bottleneck_rate": not 0 < self.bottleneck_rate < 1,
        })  # fmt: skip
