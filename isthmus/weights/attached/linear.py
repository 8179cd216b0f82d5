# SPDX-License-Identifier: Apache-2.0
"""nn.Linear modules that multiply a few vectors with weights that stay compressed, and decode them for more."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from isthmus.kernels.cuda.huffman.linear import MOST, Matrix, can_multiply
from isthmus.kernels.huffman.streams import HuffmanStreams
from isthmus.weights.attached.blocks import refuse_gradients
from isthmus.weights.attached.module import CompressedModule, has_forward_of


class CompressedLinear(CompressedModule[nn.Linear, Matrix]):
    """An nn.Linear whose sums are those of the kernel for up to MOST vectors, and torch's for more."""

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """Whether the kernel takes the module's weight."""
        if not has_forward_of(module, nn.Linear):
            return False
        assert isinstance(module, nn.Linear)
        weights = module.in_features * module.out_features
        return module.weight.dtype == torch.bfloat16 and can_multiply(weights, module.in_features)

    def __call__(self, input: Tensor) -> Tensor:
        module, x = self._module, input
        refuse_gradients(module, (x,), {})
        matrix = self._weight()
        if matrix is not None and self._takes(x) and x.device == matrix.device:
            return matrix.times(x, module.bias)
        with self._decoded(None):
            return linear(x, module.weight, module.bias)

    def _takes(self, x: Tensor) -> bool:
        """Whether `x` is some vectors that are worth it: more are faster decoded once."""
        columns = self._module.in_features
        few = x.is_cuda and x.dtype == torch.bfloat16 and 0 < x.numel() <= MOST * columns and x.shape[-1] == columns
        return few and not torch.is_autocast_enabled("cuda")

    def _make(self, streams: HuffmanStreams, rest: Tensor) -> Matrix:
        return Matrix(streams, rest, self._module.in_features)
