# SPDX-License-Identifier: Apache-2.0
"""The context model along time in floats, for training: means and scales from the frames before, as `models.context`.

Training only: `isthmus.training.walloc.audio.context` turns it into the integers that make the bytes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.context import HIGHEST, LEAK, LEAST, LOWEST, SHARES_OF_MEAN

OTHERS = 3  # frames in which a plane looks at others: two before, and its own if they come earlier


class CausalContext(nn.Module):
    """For C planes at `knots` qualities; `typical` [C], mean magnitudes, normalises what is seen.

    mean = typical (bias + own q + others q), log scale = offset + slope log(bias + own |e| + others |e|) + log typical,
    e = q - round(mean). own: of the `past` frames before; others: of all planes in two frames before, and of earlier
    planes in the same frame.
    """

    def __init__(self, typical: Tensor, knots: int, past: int = 15) -> None:
        super().__init__()
        c = len(typical)
        self.past = past
        self.register_buffer("typical", typical)
        apart = 1 - torch.eye(c)
        others = torch.stack([apart, apart, torch.ones(c, c).tril(-1)], -1)
        for name, start in (("mean", 0.0), ("scale", 0.01)):
            self.register_buffer(f"{name}_own_mask", torch.ones(c, past))
            self.register_buffer(f"{name}_others_mask", others.clone())
            setattr(self, f"{name}_own", nn.Parameter(torch.full((c, past), start)))
            setattr(self, f"{name}_others", nn.Parameter(torch.full((c, c, OTHERS), start)))
        self.mean_bias = nn.Parameter(torch.zeros(knots, c))
        self.scale_bias = nn.Parameter(torch.full((knots, c), 0.1))
        self.offset = nn.Parameter(torch.zeros(knots, c))
        self.slope = nn.Parameter(torch.ones(()))

    def taps(self, name: str) -> tuple[Tensor, Tensor]:
        """Weights of a mean or a scale that are left: own [C, past], others [C, C, 3]."""
        own = getattr(self, f"{name}_own") * self.get_buffer(f"{name}_own_mask")
        return own, getattr(self, f"{name}_others") * self.get_buffer(f"{name}_others_mask")

    @torch.no_grad()
    def prune(self, count: int) -> None:
        """Keeps as many taps as asked for, of means and scales together: those that say most about their plane."""
        worth = {}
        for name in ("mean", "scale"):
            own, others = (w.abs() for w in self.taps(name))
            whole = own.sum(1) + others.sum((1, 2))
            by = SHARES_OF_MEAN if name == "mean" else 1 / whole.clamp_min(1e-9)[:, None]
            worth[name] = own * by, others.flatten(1) * by
        every = torch.cat([w.flatten() for pair in worth.values() for w in pair])
        least = every.sort(descending=True).values[min(count, len(every) - 1)]
        for name, (own, others) in worth.items():
            self.get_buffer(f"{name}_own_mask").mul_(own > least)
            self.get_buffer(f"{name}_others_mask").mul_((others > least).view(*own.shape[:1], -1, OTHERS))

    def _sums(self, x: Tensor, name: str, knot: int) -> Tensor:
        own, others = self.taps(name)
        of_own = F.conv1d(F.pad(x[..., :-1], (self.past, 0)), own[:, None], groups=x.shape[1])
        of_others = F.conv1d(F.pad(x, (OTHERS - 1, 0)), others)
        return of_own + of_others + getattr(self, f"{name}_bias")[knot][:, None]

    def forward(self, q: Tensor, knot: int) -> tuple[Tensor, Tensor]:
        """Latents [B, C, T], integers, of one quality: mean and scale of the same shape."""
        n = self.typical[:, None]  # type: ignore[index]
        mean = self._sums(q / n, "mean", knot) * n
        a = self._sums((q - mean.detach().round()).abs() / n, "scale", knot)
        least = a.clamp_min(LEAST)
        a = least + LEAK * ((a - least) - (a - least).detach())
        log_scale = self.offset[knot][:, None] + self.slope * a.log() + n.log()
        return mean, log_scale.clamp(LOWEST, HIGHEST).exp()
