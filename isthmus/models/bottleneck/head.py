# SPDX-License-Identifier: Apache-2.0
"""What a device computes: the layers of a bottleneck in integers, so that every machine finds the same symbols.

Weights are whole numbers of 8 bits and activations whole numbers from 0 to 255, so every sum is below 2**24: float32
holds it exactly, in whatever order an implementation adds. What is no integer is one product a number, rounded once,
as IEEE 754 has it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.bottleneck.config import FACTOR, HIGH, LOW, QUALITIES, BottleneckConfig

MOST_WEIGHT, MOST_ACTIVATION = 127, 255
EXACT = 1 << 24  # below which float32 holds all integers
INTEGERS = {"wide.weight": MOST_WEIGHT, "narrow.weight": MOST_WEIGHT, "shift": MOST_ACTIVATION}  # largest magnitudes


class BottleneckHead(nn.Module):
    """Pixels to symbols, 10 to 13 thousand weights with 3 to 12 channels; what a codec holds.

    All but `step`, `unit`, `gain`, `look` and `grey` are integers. step: what the sums of the first layer are
    multiplied by; unit: what those of the second mean as features; gain: by quality and channel, what features are
    multiplied by before they are rounded. look, grey: the best linear picture of features, three by three cells to
    the pixels of the middle one; for people.
    """

    def __init__(self, config: BottleneckConfig) -> None:
        super().__init__()
        self.config = config
        c, d = config.channels, config.width
        self.wide, self.narrow = nn.Conv2d(3, d, 7, 2, 3), nn.Conv2d(d, c, 2, 2)
        self.step, self.sign, self.shift = (nn.Parameter(torch.ones(d, 1, 1)) for _ in range(3))
        self.unit, self.gain = nn.Parameter(torch.ones(c)), nn.Parameter(torch.ones(QUALITIES, c))
        self.look = nn.Parameter(torch.zeros(3 * FACTOR**2, c, 3, 3))
        self.grey = nn.Parameter(torch.zeros(3 * FACTOR**2))

    def sums(self, cells: Tensor) -> Tensor:
        """What the second layer adds up to: of whole cells [n, 3, h, w] in 0..255, whole numbers as float32."""
        x = F.max_pool2d(F.relu(self.wide(2 * cells.to(self.step.dtype) - MOST_ACTIVATION)), 3, 2, 1)
        x = (x * self.step).round().clamp(max=MOST_ACTIVATION)
        return self.narrow((x * self.sign + self.shift).clamp(0, MOST_ACTIVATION))  # type: ignore[no-any-return]

    def forward(self, pixels: Tensor) -> Tensor:
        """Features: [n, 3, h, w] in 0..255, of any size, to float32 [n, c, ceil(h/8), ceil(w/8)]."""
        return self.sums(whole_cells(pixels)) * self.unit[:, None, None]

    def symbols(self, pixels: Tensor, quality: int | Tensor) -> Tensor:
        """What is sent of pixels at a quality, 1 to 100: whole numbers in -128..127 as float32."""
        return self.symbols_of(whole_cells(pixels), quality)

    def symbols_of(self, cells: Tensor, quality: int | Tensor) -> Tensor:
        """The same, of whole cells."""
        factor = (self.unit * self.gain[quality - 1])[:, None, None]
        return (self.sums(cells) * factor).round().clamp(LOW, HIGH)

    def features(self, symbols: Tensor, quality: int) -> Tensor:
        """What symbols [..., c, h, w] mean, as float32."""
        return symbols.float() / self.gain[quality - 1][:, None, None].to(symbols.device)

    def picture(self, features: Tensor, height: int, width: int) -> Tensor:
        """The linear picture, uint8 [n, 3, height, width], of features [n, c, h', w']."""
        cells = F.conv2d(F.pad(features, (1, 1, 1, 1), mode="replicate"), self.look, self.grey)
        return F.pixel_shuffle(cells, FACTOR)[..., :height, :width].round().clamp(0, 255).to(torch.uint8)

    def check(self) -> None:
        """Raises ValueError for tensors that are not such integers, or whose sums could be inexact."""
        tensors = {name: value.detach() for name, value in self.named_parameters()}
        for name in (*INTEGERS, "wide.bias", "narrow.bias"):
            value = tensors[name]
            if bool((value != value.round()).any()) or float(value.abs().max()) > INTEGERS.get(name, EXACT):
                raise ValueError(f"{name}: expected integers of at most {INTEGERS.get(name, EXACT)}")
        if bool((tensors["sign"].abs() != 1).any()):
            raise ValueError("sign: expected 1 or -1")
        for name in ("step", "unit", "gain"):
            if bool((tensors[name] <= 0).any()):
                raise ValueError(f"{name}: expected numbers above 0")
        for name in ("wide", "narrow"):
            weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
            most = MOST_ACTIVATION * weight.abs().flatten(1).sum(1) + bias.abs()
            if float(most.max()) >= EXACT:
                raise ValueError(f"sums up to {float(most.max()):.0f}, exact are those below {EXACT}")


def whole_cells(pixels: Tensor) -> Tensor:
    """Continued at the right and the bottom to multiples of a cell, mirrored as docs/format.md says of all codecs."""
    height, width = pixels.shape[2:]
    return mirrored(pixels) if height % FACTOR or width % FACTOR else pixels


def mirrored(pixels: Tensor) -> Tensor:
    """As `whole_cells`, by the same steps whatever the size."""
    rows, columns = (_places(n, pixels.device) for n in pixels.shape[2:])
    return pixels.index_select(2, rows).index_select(3, columns)


def _places(count: int, device: torch.device) -> Tensor:
    """Of an axis of `count` samples, where those of whole cells come from."""
    last = torch.full((), count - 1, device=device)
    period = (2 * last).clamp(min=1)
    place = torch.arange((count + FACTOR - 1) // FACTOR * FACTOR, device=device) % period
    return torch.minimum(place, period - place).minimum(last)
