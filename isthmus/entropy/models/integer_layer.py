# SPDX-License-Identifier: Apache-2.0
"""One layer of an integer network: a convolution whose sums are exact in floats, and the check that they are.

Every partial sum stays below 2**24, so float32 convolutions are exact whatever the order of their sums, and every
machine finds the same integers (Balle, Johnston, Minnen, "Integer Networks for Data Compression with Latent-Variable
Models", ICLR 2019).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.kernels.native.read_only import read_only

LIMIT = 127  # of inputs, both ways, and of activations, which are not negative
EXACT = 1 << 24  # below it every integer is a float32
MAX_SHIFT = 23
PROBES = 48  # places of a layer's output that the check compares
ITEMS = 15  # of a batch at once: from 16 on torch without oneDNN takes NNPACK, which rounds (Winograd)

Int64 = NDArray[np.int64]
Places = tuple[Int64, Int64, Int64]


def exact_conv2d(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """A convolution that keeps the sides, by kernels that only multiply and add; gradients flow through it.

    cuDNN, whose Winograd and TF32 kernels round, is left out call by call: its flags are one for all threads.
    """
    pad = weight.shape[2] // 2
    with torch.autocast(x.device.type, enabled=False):
        parts = [
            torch._convolution(
                part, weight, bias, (1, 1), (pad, pad), (1, 1), False, (0, 0), groups,
                benchmark=False, deterministic=True, cudnn_enabled=False, allow_tf32=False,
            )
            for part in torch.split(x, ITEMS)
        ]  # fmt: skip
        return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """y = clip((w * x + bias + 2**(shift - 1)) >> shift, 0, high), w * x a convolution that keeps the sides.

    weight: int8 [out, in / groups, k, k], k 1 or 3, zeros beyond the borders; bias: int32 [out]; shift: 0..23 (0
    rounds nothing); groups divides in and out. `high` is 127, for the last layer the number of tables less one.
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    shift: int
    groups: int = 1

    def __post_init__(self) -> None:
        for name in ("weight", "bias"):  # what was checked cannot be changed afterwards
            object.__setattr__(self, name, read_only(np.array(getattr(self, name))))

    @property
    def inputs(self) -> int:
        return self.weight.shape[1] * self.groups

    @property
    def kernel(self) -> int:
        return self.weight.shape[2]

    @property
    def outputs(self) -> int:
        return self.weight.shape[0]

    @property
    def offset(self) -> Int64:
        """What is added to the sums: the bias and half of the last place, int64 [out]."""
        return self.bias.astype(np.int64) + ((1 << self.shift) >> 1)

    @property
    def reach(self) -> Int64:
        """No partial sum of an output has a larger magnitude: int64 [out]."""
        sums = np.abs(self.weight.astype(np.int64)).sum((1, 2, 3)) * LIMIT
        return sums + np.abs(self.bias.astype(np.int64)) + ((1 << self.shift) >> 1)

    def validate(self, name: str) -> None:
        """Raises ValueError that names the layer where its arrays are wrong or a sum could reach 2**24."""
        w, b = self.weight, self.bias
        if w.dtype != np.int8 or w.ndim != 4 or w.shape[2:] not in ((1, 1), (3, 3)) or 0 in w.shape:
            raise ValueError(
                f"integer network: {name}: weight {w.dtype} {w.shape}, expected int8 [out, in, 1 or 3, same]"
            )
        if b.dtype != np.int32 or b.shape != w.shape[:1]:
            raise ValueError(f"integer network: {name}: bias {b.dtype} {b.shape}, expected int32 [{len(w)}]")
        if not 0 <= self.shift <= MAX_SHIFT:
            raise ValueError(f"integer network: {name}: shift {self.shift}, expected 0..{MAX_SHIFT}")
        if self.groups < 1 or len(w) % self.groups:
            raise ValueError(f"integer network: {name}: {self.groups} groups do not divide {len(w)} outputs")
        reach = int(self.reach.max())
        if reach >= EXACT:
            raise ValueError(f"integer network: {name}: sums may reach {reach}, expected below 2**24 = {EXACT}")

    def sums(self, x: Tensor) -> Tensor:
        """w * x + offset of float activations [B, in, H, W], exact."""
        weight, offset = (torch.from_numpy(a.copy()).to(x) for a in (self.weight, self.offset))
        return exact_conv2d(x, weight, offset, self.groups)

    def sums_at(self, x: NDArray[np.signedinteger], places: Places) -> Int64:
        """The same in integers at places (item, row, column), each [P], of x [B, in, H, W]: int64 [P, out]."""
        k, width = self.kernel, self.weight.shape[1]
        wide = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
        item, row, column = (p[:, None, None] for p in places)
        steps = np.arange(k)
        patches = wide[item, :, row + steps[:, None], column + steps]  # [P, k, k, in]
        patches = patches.reshape(len(item), k, k, self.groups, width)
        w = self.weight.astype(np.int64).reshape(self.groups, -1, width, k, k)
        return np.einsum("pyxgi,goiyx->pgo", patches, w).reshape(len(item), self.outputs) + self.offset

    def probe(self, like: Tensor) -> tuple[Tensor, bool]:
        """Sums of made-up activations, laid out as `like`, floats [B, in, H, W]; and whether 48 places are exact.

        Once random activations, which any rounding shows in, and once those with which sums reach furthest.
        """
        rng = np.random.default_rng(0)
        sizes = (len(like), *like.shape[2:])
        places = tuple(np.append(rng.integers(0, n, PROBES - 3), [0, n // 2, n - 1]) for n in sizes)
        item, row, column = (torch.from_numpy(p).to(like.device) for p in places)
        random = rng.integers(-LIMIT, LIMIT + 1, like.shape, np.int8)
        exact = True
        for values in (random, np.broadcast_to(self._furthest(*like.shape[2:]), like.shape).copy()):
            sums = self.sums(torch.empty_like(like).copy_(torch.from_numpy(values)))
            found = sums[item, :, row, column].cpu().numpy()
            exact = exact and bool((found == self.sums_at(values, places)).all())  # type: ignore[arg-type]
        return sums, exact

    def _furthest(self, height: int, width: int) -> NDArray[np.int8]:
        """Activations [in, H, W] that bring the widest output of each group to its largest sum, in the middle too."""
        k, groups = self.kernel, np.arange(self.groups)
        widest = self.reach.reshape(self.groups, -1).argmax(1) + groups * (self.outputs // self.groups)
        signs = np.sign(self.weight[widest]) * np.where(self.bias[widest] < 0, -1, 1)[:, None, None, None]
        rows, columns = ((np.arange(n) - n // 2 + k // 2) % k for n in (height, width))
        tiles = signs.reshape(self.inputs, k, k)[:, rows[:, None], columns]
        return (tiles * LIMIT).astype(np.int8)
