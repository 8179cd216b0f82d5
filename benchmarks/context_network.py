# SPDX-License-Identifier: Apache-2.0
"""What a network on top of the linear contexts would buy: bits of latents that were not trained on.

    python benchmarks/context_network.py FOLDER [--codec walloc-image-f8c48] [--steps 6000] [--device cuda]

Trains the linear context model, and beside it one whose mean and scale a network of each channel corrects, from the
same decoded neighbours: two hidden layers in floats, so an upper bound of what the integer network of
`isthmus.entropy` could buy. Every ninth file is kept out. Bits are those of the training's own mixture for both.
"""

import argparse
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import isthmus
from isthmus.kernels.context.sums import PASSES, available
from isthmus.models.context import HIGHEST, LOWEST, LinearContext, ScaleMixture
from isthmus.training.data.crops import load_rgb
from isthmus.training.walloc import context as fitting
from isthmus.training.walloc.context_integers import KNOTS

HIDDEN = 24
NEAREST = 6  # earlier channels that a channel's network looks at: those that follow it most closely
RATE = 2e-3
LARGEST = 8.0  # of what enters the network, in units of a channel's typical magnitude


class NetworkContext(nn.Module):
    """The linear model, its mean and log scale corrected by a network of each channel and pass."""

    def __init__(self, linear: LinearContext, earlier: Tensor) -> None:
        super().__init__()
        self.linear = linear
        c = len(earlier)
        self.register_buffer("earlier", earlier)  # [C, NEAREST], C stands for none
        self.register_buffer("mask", torch.from_numpy(available()).float().view(4, 1, 1, 5, 5))
        self.own = nn.Parameter(torch.randn(4, c * HIDDEN, 2, 5, 5) * 0.1)
        self.others = nn.Parameter(torch.randn(4, c * HIDDEN, 2 * NEAREST, 3, 3) * 0.05)
        self.told = nn.Parameter(torch.randn(4, c * HIDDEN, 2, 1, 1) * 0.3)
        self.bias = nn.Parameter(torch.zeros(4, c * HIDDEN))
        self.middle = nn.Parameter(torch.randn(4, c * HIDDEN, HIDDEN, 1, 1) * HIDDEN**-0.5)
        self.last = nn.Parameter(torch.zeros(4, c * 2, HIDDEN, 1, 1))

    def forward(self, q: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """As `LinearContext.forward`."""
        b, c, h, w = q.shape
        n = self.linear.get_buffer("typical")[:, None, None]
        mean, scale = self.linear(q, level)
        seen = torch.stack([q / n, (q - mean.detach().round()).abs() / n], 2)  # [B, C, 2, h, w]
        seen = seen.clamp(-LARGEST, LARGEST)
        padded = torch.cat([seen, seen.new_zeros(b, 1, 2, h, w)], 1)
        chosen = padded[:, self.get_buffer("earlier").flatten()].reshape(b, c * NEAREST * 2, h, w)
        own, others = F.pad(seen.reshape(b, c * 2, h, w), (2, 2, 2, 2)), F.pad(chosen, (2, 2, 2, 2))
        told = torch.stack([mean / n, (scale / n).log()], 2).reshape(b, c * 2, h, w)
        out = q.new_empty(b, c, 2, h, w)
        for s, (row, column) in enumerate(PASSES):
            size = q[:, :, row::2, column::2].shape[2:]
            hidden = F.conv2d(own[:, :, row:, column:], self.own[s] * self.mask[s], stride=2, groups=c)
            hidden = hidden[..., : size[0], : size[1]]
            more = F.conv2d(others[:, :, row + 1 :, column + 1 :], self.others[s], stride=2, groups=c)
            hidden = hidden + more[..., : size[0], : size[1]] + self.bias[s][:, None, None]
            hidden = F.gelu(hidden + F.conv2d(told[:, :, row::2, column::2], self.told[s], groups=c))
            hidden = F.gelu(F.conv2d(hidden, self.middle[s], groups=c))
            last = F.conv2d(hidden, self.last[s], groups=c)
            out[..., row::2, column::2] = last.reshape(b, c, 2, *size)
        mean = mean + out[:, :, 0] * n
        return mean, (scale.log() + out[:, :, 1]).clamp(LOWEST, HIGHEST).exp()


def nearest(linear: LinearContext) -> Tensor:
    """The earlier channels that the linear scale leans on most: int64 [C, NEAREST], C where there are none."""
    weight = (linear.scale_earlier.abs() * linear.get_buffer("scale_mask")).sum((0, 3, 4)).detach()  # [C, C]
    c = len(weight)
    best = weight.sort(1, descending=True).indices[:, :NEAREST]
    return torch.where(best < torch.arange(c, device=weight.device)[:, None], best, c)


def train(model: nn.Module, latents: list[list[Tensor]], steps: int, seed: int) -> ScaleMixture:
    """As `isthmus.training.walloc.context.fit_linear`, for any model of mean and scale; returns its mixture."""
    device = latents[0][0].device
    mixture = ScaleMixture().to(device)
    optimizer = torch.optim.Adam([*model.parameters(), *mixture.parameters()], RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    generator = np.random.default_rng(seed)
    for step in range(steps):
        knot = step % len(KNOTS)
        q = fitting.crops_of([image[knot] for image in latents], generator)
        mean, scale = model(q, torch.full((len(q),), float(knot), device=device))
        bits = mixture(q, mean, scale).mean()
        optimizer.zero_grad(set_to_none=True)
        (bits / (0.05 + bits.detach())).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step}, quality {KNOTS[knot]}: {bits.item():.4f} bits a latent", file=sys.stderr, flush=True)
    return mixture


@torch.no_grad()
def measure(model: Any, mixture: ScaleMixture, latents: list[list[Tensor]]) -> list[float]:
    """Bits a latent at each quality of KNOTS."""
    found = []
    for knot in range(len(KNOTS)):
        bits = count = 0.0
        for image in latents:
            q = image[knot].float()[None]
            q = q[..., : q.shape[2] // 2 * 2, : q.shape[3] // 2 * 2]
            mean, scale = model(q, torch.tensor([float(knot)], device=q.device))
            bits, count = bits + mixture(q, mean, scale).sum().item(), count + q.numel()
        found.append(bits / count)
    return found


def main() -> None:
    """Train both, print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--codec", default="walloc-image-f8c48")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    model: Any = isthmus.load(options.codec)
    files = sorted(path for path in options.folder.iterdir() if path.is_file())
    encoder = model.weights.linear
    latents = [[encoder.analyze_image(load_rgb(path).numpy(), q, threads=4) for q in KNOTS] for path in files]
    typical = fitting.typical_magnitudes([image for i, image in enumerate(latents) if i % 9])
    on_device = [[torch.from_numpy(q).to(options.device) for q in image] for image in latents]
    kept, used = on_device[::9], [image for i, image in enumerate(on_device) if i % 9]
    torch.manual_seed(0)
    linear = LinearContext(typical, len(KNOTS)).to(options.device)
    before = measure(linear, train(linear, used, options.steps, 0), kept)
    network = NetworkContext(deepcopy(linear), nearest(linear)).to(options.device)
    after = measure(network, train(network, used, options.steps, 1), kept)
    again = measure(linear, train(linear, used, options.steps, 1), kept)  # as many steps as the network had
    for quality, a, b, c in zip(KNOTS, before, again, after, strict=True):
        gain = f"{100 * (c / b - 1):+.2f} %"
        print(f"{options.codec} q{quality}: linear {a:.4f}, longer {b:.4f}, with a network {c:.4f}, {gain}")


if __name__ == "__main__":
    main()
