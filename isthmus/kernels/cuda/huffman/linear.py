# SPDX-License-Identifier: Apache-2.0
"""Products of a few vectors with a matrix of bf16 that stays compressed, on torch's current stream.

The weights are decoded and multiplied in one kernel, so that of the matrix only compressed bytes are read. Sums are
float32, in an order that is always the same but not that of cuBLAS.
"""

import torch

from isthmus.kernels.cuda.driver import launch, packed, start
from isthmus.kernels.cuda.huffman.decode import STREAMS, THREADS, arguments_of, blocks_of, check_device
from isthmus.kernels.huffman.streams import HuffmanStreams, check_rest

PIECE = 256  # weights that a warp multiplies at a time; rows of a matrix are whole pieces
BLOCKS = (4, 4, 3, 2)  # of a multiprocessor, for 1, 2, ... vectors: sums of more vectors take more registers
MOST = len(BLOCKS)  # vectors of one launch
ROWS = 128  # of a block of `add_parts`
FILE = "huffman/linear.cu"


class Matrix:
    """bf16 [rows, columns] in Huffman streams and `rest`, as `cuda.huffman.decode_bf16` takes them.

    Raises ValueError for another `rest`, streams that are on no CUDA device, and columns that are not whole PIECEs or
    do not divide the weights.
    """

    def __init__(self, streams: HuffmanStreams, rest: torch.Tensor, columns: int) -> None:
        what = "cuda.huffman_linear.Matrix"
        check_device(streams, what)
        rest = check_rest(rest, streams, what)
        if not can_multiply(streams.count, columns):
            raise ValueError(
                f"{what}: {streams.count} weights in rows of {columns}, expected whole rows of a multiple of {PIECE}"
            )
        self.rows, self.columns, self.device = streams.count // columns, columns, streams.device
        self._streams, self._rest = streams, rest  # the kernels are given their places
        self._starts = [self._packed(vectors) for vectors in range(1, MOST + 1)]

    def _packed(self, vectors: int) -> tuple[tuple[str, ...], int, bytes]:
        """Definitions, blocks and first arguments of the kernel for so many vectors."""
        pieces = self.columns // PIECE
        reciprocal = -(-(1 << 32) // pieces) & 0xFFFFFFFF
        block = packed(STREAMS + "IIP", [*arguments_of(self._streams), pieces, reciprocal, self._rest])
        most = BLOCKS[vectors - 1]
        return (f"VECTORS={vectors}", f"BLOCKS={most}"), blocks_of(self._streams, most), block

    def times(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """x times the transposed matrix, plus bias: bfloat16 [..., rows], x being bfloat16 [..., columns].

        bias: bfloat16 [rows]. Raises ValueError for other shapes, dtypes and devices.
        """
        self._check(x, "x", (*x.shape[:-1], self.columns))
        if bias is not None:
            self._check(bias, "bias", (self.rows,))
            bias = bias.contiguous()
        vectors = x.reshape(-1, self.columns).contiguous()
        if vectors.data_ptr() % 16:
            vectors = vectors.clone()
        count = vectors.shape[0]
        out = torch.empty(count, self.rows, dtype=torch.bfloat16, device=x.device)
        if self.rows:
            for begin in range(0, count, MOST):
                end = min(begin + MOST, count)
                whole = end - begin == count
                self._multiply(vectors if whole else vectors[begin:end], bias, out if whole else out[begin:end])
        return out.view(*x.shape[:-1], self.rows)

    def _check(self, tensor: torch.Tensor, name: str, shape: tuple[int, ...]) -> None:
        if tensor.dtype != torch.bfloat16 or tensor.device != self.device or tensor.shape != shape:
            raise ValueError(
                f"cuda.huffman_linear: {name} is {tensor.dtype} {list(tensor.shape)} on {tensor.device}, expected "
                f"torch.bfloat16 {list(shape)} on {self.device}"
            )

    def _multiply(self, vectors: torch.Tensor, bias: torch.Tensor | None, out: torch.Tensor) -> None:
        count, pieces = vectors.shape[0], self.columns // PIECE
        defines, blocks, block = self._starts[count - 1]
        parts = torch.empty(self.rows * pieces * count, dtype=torch.float32, device=out.device)
        block += packed("PP", [vectors, parts])
        start(FILE, "multiply_huffman_bf16", self.device, blocks, THREADS, block, defines=defines)
        launch(
            FILE, "add_parts", self.device, -(-self.rows // ROWS), ROWS, "PIIPP",
            [parts, pieces, self.rows, 0 if bias is None else bias, out], defines=defines,
        )  # fmt: skip


def can_multiply(weights: int, columns: int) -> bool:
    """Whether a matrix of so many weights in rows of `columns` can be a Matrix."""
    if columns <= 0 or columns % PIECE or weights % columns:
        return False
    return weights // PIECE * (columns // PIECE) < 1 << 32  # places of pieces in their rows are exact up to there
