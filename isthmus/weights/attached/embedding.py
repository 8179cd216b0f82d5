# SPDX-License-Identifier: Apache-2.0
"""nn.Embedding modules that decode the rows that they are asked for."""

from torch import Tensor, nn
from torch.nn.functional import embedding

from isthmus.kernels.cuda.huffman.decode import UNIT, gather_bf16
from isthmus.kernels.huffman.streams import HuffmanStreams
from isthmus.weights.attached.blocks import refuse_gradients
from isthmus.weights.attached.module import CompressedModule, has_forward_of

FEWER = 2  # a GPU takes a unit for each row; all of them at once are decoded faster


class CompressedEmbedding(CompressedModule[nn.Embedding, tuple[HuffmanStreams, Tensor]]):
    """An nn.Embedding of which all is decoded only where it is asked for many rows."""

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """Whether rows of the module's weight are all that it needs."""
        if not has_forward_of(module, nn.Embedding):
            return False
        assert isinstance(module, nn.Embedding)
        return module.max_norm is None and module.num_embeddings * module.embedding_dim > 0

    def __call__(self, input: Tensor) -> Tensor:
        module, ids = self._module, input
        refuse_gradients(module, (ids,), {})
        weight = self._weight()
        if weight is not None and self._few(ids) and ids.device == weight[1].device:
            return gather_bf16(*weight, ids, module.embedding_dim)
        with self._decoded(None if ids.is_cuda else self._parts(ids)):
            return embedding(ids, module.weight, module.padding_idx)

    def _few(self, ids: Tensor) -> bool:
        each = self._module.embedding_dim + UNIT
        return FEWER * ids.numel() * each <= self._module.num_embeddings * self._module.embedding_dim

    def _parts(self, ids: Tensor) -> list[slice] | None:
        """The weights of the rows, in a group of nothing else, on the CPU. Torch refuses ids that are no rows."""
        if len(self._group.items) > 1 or len(self._group.items[0].names) > 1 or ids.is_floating_point():
            return None
        width, count = self._module.embedding_dim, self._module.num_embeddings
        return [
            slice(row * width, (row + 1) * width) for row in sorted(set(ids.reshape(-1).tolist())) if 0 <= row < count
        ]

    def _make(self, streams: HuffmanStreams, rest: Tensor) -> tuple[HuffmanStreams, Tensor]:
        return streams, rest
