# SPDX-License-Identifier: Apache-2.0
"""Training of integer networks: the sums of `entropy.models.integer_layer` in floats that gradients flow through.

Weights and activations are rounded on the way forward and left alone on the way back (straight-through: Bengio et al.,
arXiv 1308.3432), so that what is trained is, bit for bit, what runs. Weights are fractions with a power of two below
them, the layer's shift, which follows the largest weight.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.entropy.models.integer_layer import EXACT, LIMIT, MAX_SHIFT, IntegerLayer, exact_conv2d
from isthmus.entropy.models.integer_network import IntegerNetwork
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.fixed_log2 import COST_ONE

UNIT = 16  # activations and indices to a one in the floats that are trained; biases learn at the pace of weights


def _straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    return rounded.detach() + (value - value.detach())  # exactly `rounded`


class _Clip(torch.autograd.Function):
    """Clips to 0..high; beyond, only gradients that lead back inside pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.high = high
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,), grad = ctx.saved_tensors, grads[0]
        stuck = ((x < 0) & (grad > 0)) | ((x > ctx.high) & (grad < 0))
        return grad.masked_fill(stuck, 0.0), None


class QuantizedConv(nn.Module):
    """One layer: a convolution of integers -127..127 to integers 0..`high`, kernel 1 or 3, zeros beyond the borders."""

    def __init__(self, inputs: int, outputs: int, kernel: int, high: int = LIMIT, groups: int = 1) -> None:
        super().__init__()
        if kernel not in (1, 3):
            raise ValueError(f"QuantizedConv: kernel {kernel}, expected 1 or 3")
        if groups < 1 or inputs % groups or outputs % groups:
            raise ValueError(f"QuantizedConv: {groups} groups do not divide {inputs} inputs and {outputs} outputs")
        self.high, self.groups = high, groups
        fan_in = inputs // groups * kernel**2
        self.weight = nn.Parameter(torch.randn(outputs, inputs // groups, kernel, kernel) * math.sqrt(2 / fan_in))
        self.bias = nn.Parameter(torch.zeros(outputs))

    @torch.no_grad()
    def integers(self) -> tuple[Tensor, Tensor, int]:
        """int8-valued weights, the bias, both as floats, and the largest shift with which every sum stays exact."""
        largest = min(LIMIT, max(LIMIT / 2.0**MAX_SHIFT, float(self.weight.abs().max())))
        for shift in range(math.floor(math.log2(LIMIT / largest)), -1, -1):
            weight = (self.weight * 2.0**shift).round().clamp(-LIMIT, LIMIT)
            bias = (self.bias.double() * UNIT * 2.0**shift).round()
            half = (1 << shift) >> 1
            if float((weight.double().abs().sum((1, 2, 3)) * LIMIT + bias.abs()).max()) + half < EXACT:
                return weight, bias.to(self.bias.dtype), shift
        raise ValueError("QuantizedConv: the weights or biases grew beyond what an integer layer can hold")

    def forward(self, x: Tensor) -> Tensor:
        """Integers as floats [B, inputs, H, W] to integers as floats [B, outputs, H, W]."""
        whole, offset, shift = self.integers()
        step = 2.0**-shift
        weight = _straight_through(self.weight, whole * step)
        bias = _straight_through(self.bias * UNIT, offset * step)
        sums = exact_conv2d(x, weight, bias, self.groups)
        rounding = 0.5 if shift else 0.0
        return _Clip.apply(_straight_through(sums, (sums + rounding).floor()), float(self.high))  # type: ignore[no-untyped-call]


class QuantizedNetwork(nn.Module):
    """A network whose outputs are table indices: layers of `widths`, with kernels 1 or 3, for a family of `tables`.

    widths: channels of the input, of each hidden layer and of the output; kernels and groups: one a layer (groups 1
    when None). Raises ValueError where they do not fit.

    >>> network = QuantizedNetwork([8, 16, 4], [3, 1], tables=64)
    >>> network(torch.zeros(2, 8, 5, 7)).shape
    torch.Size([2, 4, 5, 7])
    """

    def __init__(
        self, widths: Sequence[int], kernels: Sequence[int], tables: int, groups: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        groups = [1] * len(kernels) if groups is None else groups
        if len(kernels) < 1 or len(widths) != len(kernels) + 1 or len(groups) != len(kernels):
            raise ValueError(
                f"QuantizedNetwork: {len(widths)} widths, {len(kernels)} kernels, {len(groups)} groups; "
                "expected as many kernels as groups, 1 or more, and one width more"
            )
        highs = [LIMIT] * (len(kernels) - 1) + [tables - 1]
        parts = zip(pairwise(widths), kernels, highs, groups, strict=True)
        self.layers = nn.ModuleList(QuantizedConv(*sides, k, high, g) for sides, k, high, g in parts)
        with torch.no_grad():  # begins in the middle of the family
            self.layers[-1].bias.fill_((tables - 1) / 2 / UNIT)  # type: ignore[operator, union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Table indices as floats [B, outputs, H, W] for integers [B, inputs, H, W] of any dtype, clipped to +-127."""
        y = x.to(self.layers[0].weight.dtype).clamp(-LIMIT, LIMIT)  # type: ignore[union-attr, arg-type]
        for layer in self.layers:
            y = layer(y)
        return y

    def to_integers(self, tables: TableFamily) -> IntegerNetwork:
        """The integers of this network with its tables. Raises ValueError for a family of another size."""
        if len(tables) - 1 != self.layers[-1].high:
            raise ValueError(f"QuantizedNetwork: {len(tables)} tables, expected {self.layers[-1].high + 1}")  # type: ignore[operator]
        layers = []
        for layer in self.layers:
            weight, bias, shift = layer.integers()  # type: ignore[operator]
            whole = weight.cpu().numpy().astype(np.int8)
            layers.append(IntegerLayer(whole, bias.cpu().numpy().astype(np.int32), shift, layer.groups))  # type: ignore[arg-type]
        return IntegerNetwork(layers, tables)


class TableCost(nn.Module):
    """Bits of symbols under a family of tables in order of scale; the gradient leads to the cheaper neighbour."""

    costs: Tensor
    low: Tensor

    def __init__(self, tables: TableFamily, least: int, most: int) -> None:
        """For symbols least..most; others count as the nearest of these."""
        super().__init__()
        values = np.arange(least, most + 1)
        rows = []
        for low, size, start in zip(tables.low, tables.size, tables.starts, strict=True):
            beyond = np.maximum(low - 1 - values, values - low - size)
            escape = tables.costs[start + size] / COST_ONE + np.where(beyond < 64, 8, np.where(beyond < 8192, 16, 24))
            inside = tables.costs[start + np.clip(values - low, 0, size - 1)] / COST_ONE
            rows.append(np.where(beyond < 0, inside, escape))
        self.register_buffer("costs", torch.from_numpy(np.array(rows, np.float32)))
        self.least, self.most = least, most

    def forward(self, index: Tensor, symbols: Tensor) -> Tensor:
        """Bits, float32, of symbols, integers, with the tables `index`, whole floats; all of one shape."""
        place = (symbols.clamp(self.least, self.most) - self.least).long()
        k = index.detach().long()
        last = len(self.costs) - 1
        above, below = (k + 1).clamp(max=last), (k - 1).clamp(min=0)
        slope = (self.costs[above, place] - self.costs[below, place]) / (above - below).clamp(min=1)
        return self.costs[k, place] + (index - index.detach()) * slope
