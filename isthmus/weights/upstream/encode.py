# SPDX-License-Identifier: Apache-2.0
"""bf16 matrices to one module of a DFloat11 checkpoint, such that the published runtime reads it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import CorruptStreamError
from isthmus.kernels import threads as pool
from isthmus.kernels.weights import dfloat11_encode as kernels
from isthmus.weights.upstream.block import WINDOW, UpstreamBlock
from isthmus.weights.upstream.codes import FIRST_POINTER, PrefixCode, make_code, to_luts

THREADS_PER_BLOCK = 512
CHUNK_LOG2 = 15  # bits of a chunk: 512 threads of 64 bits
PART = 1 << 18  # weights that a thread takes at a time
# The published kernel keeps a chunk's weights in shared memory, of which a launch gets 48 KB unless it asks for more.
MOST_IN_CHUNK = (48 * 1024 - 4 * THREADS_PER_BLOCK - 4) // 2


def encode_block(name: str, matrices: Sequence[NDArray[Any]], *, threads: int = 1) -> UpstreamBlock:
    """The module `name` of these weights, the bits of bf16 as uint16 of any shape.

    Codes are as short as the counts of the exponents allow, but of two bits at least where a chunk would hold more
    weights than the published kernel has memory for.

    Raises ValueError without weights, with 2^32 or more, or with an exponent of 240 or more (infinities, NaN, and
    magnitudes from 2^113 on), which the layout cannot hold: leave such a module uncompressed. TypeError for other
    dtypes.
    """
    if any(matrix.dtype != np.uint16 for matrix in matrices):
        raise TypeError(
            f"{name}: got {[str(matrix.dtype) for matrix in matrices]}, expected the bits of bf16 as uint16"
        )
    sizes = [matrix.size for matrix in matrices]
    n = sum(sizes)
    if not 0 < n < 1 << 32:
        raise ValueError(f"{name}: {n} weights, expected 1 to 2^32 - 1")
    exponents, rest = np.empty(n, np.uint8), np.empty(n, np.uint8)
    parts = [slice(a, min(a + PART, n)) for a in range(0, n, PART)]
    flat = np.concatenate([matrix.reshape(-1) for matrix in matrices])

    def split(part: slice) -> NDArray[np.int64]:
        counts = np.zeros(256, np.int64)
        kernels.split(flat[part], exponents[part], rest[part], counts)
        return counts

    counted = np.array(pool.run(split, parts, threads))
    counts = counted.sum(axis=0)
    if counts[FIRST_POINTER:].any():
        raise ValueError(
            f"{name}: {counts[FIRST_POINTER:].sum()} weights are infinite, NaN or at least 2^113, which the DFloat11 "
            "layout cannot hold; leave this module uncompressed"
        )
    splits = np.cumsum(sizes[:-1], dtype=np.int64)
    code = make_code(counts)
    block = _with_code(name, code, counted, parts, exponents, rest, splits, threads)
    if np.diff(block.positions).max() > MOST_IN_CHUNK:
        block = _with_code(name, make_code(counts, least=2), counted, parts, exponents, rest, splits, threads)
    return block


def _with_code(
    name: str,
    code: PrefixCode,
    counted: NDArray[np.int64],
    parts: list[slice],
    exponents: NDArray[np.uint8],
    rest: NDArray[np.uint8],
    splits: NDArray[np.int64],
    threads: int,
) -> UpstreamBlock:
    """counted: int64 [parts, 256], the exponents of each part."""
    code_of, length_of = code.by_symbol()
    rows = code_of << np.uint64(6) | length_of
    ends = np.cumsum(counted @ length_of.astype(np.int64))
    begins, bits = [0, *ends[:-1].tolist()], int(ends[-1])
    spare = -bits % 8
    last = bits + (1 if spare else 0)  # the mark of the end begins a window and a chunk as any code does
    size, chunks = -(-bits // 8), -(-bits // (1 << CHUNK_LOG2))
    windows = np.zeros(chunks * THREADS_PER_BLOCK, np.uint8)
    positions = np.zeros(chunks + 1, np.uint32)
    positions[-1] = len(exponents)
    data = np.zeros(size, np.uint8)

    def work(item: tuple[slice, int, int]) -> NDArray[np.uint8]:
        part, begin, end = item
        room = np.zeros((end + 7 >> 3) - (begin >> 3) + 8, np.uint8)
        kernels.encode_part(
            exponents[part], begin, part.start, rows, CHUNK_LOG2, room, windows[: -(-last // WINDOW)],
            positions[:chunks],
        )  # fmt: skip
        return room[:-8]

    items = list(zip(parts, begins, ends.tolist(), strict=True))
    for (_, begin, _), room in zip(items, pool.run(work, items, threads), strict=True):
        at = begin >> 3
        data[at] |= room[0]
        data[at + 1 : at + len(room)] = room[1:]
    if spare:
        data[-1] |= int(code.end[:spare].ljust(spare, "0"), 2)
    return UpstreamBlock(
        name,
        to_luts(code),
        data,
        rest,
        positions.astype("<u4").view(np.uint8),
        np.packbits(np.unpackbits(windows[:, None], axis=1)[:, 3:]),
        splits,
    )


def verify_block(block: UpstreamBlock, *, threads: int = 1) -> None:
    """Checks every gap, of which decoding here needs one a chunk only, and the published kernel all.

    Raises CorruptStreamError that names the module where it does not decode, or where a gap is not where a code begins.
    """
    weights = block.decode(threads=threads)
    code_of, length_of = block.code.by_symbol()
    rows = code_of << np.uint64(6) | length_of
    exponents = (weights >> 7).astype(np.uint8)
    counts = [np.bincount(exponents[a : a + PART], minlength=256) for a in range(0, len(block), PART)]
    ends = np.cumsum(np.array(counts) @ length_of.astype(np.int64)).tolist()
    windows = np.zeros(-(-ends[-1] // WINDOW), np.uint8)
    no_positions = np.empty(0, np.uint32)

    def work(item: tuple[int, int, int]) -> None:
        first, begin, end = item
        room = np.empty((end + 7 >> 3) - (begin >> 3) + 8, np.uint8)
        kernels.encode_part(
            exponents[first : first + PART], begin, first, rows, CHUNK_LOG2, room, windows, no_positions
        )

    pool.run(work, list(zip(range(0, len(block), PART), [0, *ends[:-1]], ends, strict=True)), threads)
    wrong = windows != block.window_gaps(np.arange(len(windows)))
    if ends[-1] >> 6 < len(windows) and windows[-1] == ends[-1] % WINDOW:
        wrong[-1] = False  # no weight begins there; what the last gap says, if anything, leads nowhere
    if wrong.any():
        raise CorruptStreamError(
            f"{block.name}: gaps are wrong in {int(wrong.sum())} of {len(windows)} windows of 64 bits, the first is "
            f"number {int(np.argmax(wrong))}; the file is damaged, fetch it again"
        )
