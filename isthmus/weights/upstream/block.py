# SPDX-License-Identifier: Apache-2.0
"""One compressed module of a published DFloat11 checkpoint: matrices of bf16 weights behind each other."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import CorruptStreamError
from isthmus.kernels import threads as pool
from isthmus.kernels.weights import dfloat11 as kernels
from isthmus.lazy import cached_property
from isthmus.weights.upstream.codes import PrefixCode, from_luts

FIELDS = ("luts", "encoded_exponent", "sign_mantissa", "output_positions", "gaps", "split_positions")
BYTES_PER_THREAD = 8  # the published kernel knows no other
WINDOW = 8 * BYTES_PER_THREAD
MOST_THREADS = 1024
CHUNKS_AT_ONCE = 64
FAULTS = {
    kernels.OUT_OF_BITS: "its exponents end early",
    kernels.NO_CODE: "its bits are no code of luts",
    kernels.WRONG_END: "its exponents do not end where gaps say that the next chunk begins",
}


@dataclass(frozen=True)
class UpstreamBlock:
    """The six tensors of a module as the file holds them, checked when it is made.

    luts: uint8 [k + 1, 256], see `codes`. encoded_exponent: uint8 [bytes], codes of all weights, the most
    significant bit first. sign_mantissa: uint8 [n], sign << 7 | mantissa. output_positions: uint8 [4 (chunks + 1)],
    uint32 each, of the first weight whose code begins in each chunk of threads x 8 bytes, then n. gaps: 5 bits for each
    8 bytes, the bit at which the first code begins in them. split_positions: int64, where the second and later matrices
    begin.

    Raises CorruptStreamError that begins with `name` for fields that contradict each other.
    """

    name: str
    luts: NDArray[np.uint8]
    encoded_exponent: NDArray[np.uint8]
    sign_mantissa: NDArray[np.uint8]
    output_positions: NDArray[np.uint8]
    gaps: NDArray[np.uint8]
    split_positions: NDArray[np.int64]
    threads_per_block: int = 512

    def __post_init__(self) -> None:
        for field in FIELDS[1:]:
            array, dtype = getattr(self, field), np.int64 if field == "split_positions" else np.uint8
            self._expect(
                array.dtype == dtype and array.ndim == 1,
                f"{field} is {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} of one dimension",
            )
        self._expect(
            1 <= self.threads_per_block <= MOST_THREADS,
            f"{self.threads_per_block} threads a block, expected 1 to {MOST_THREADS}",
        )
        self._expect(0 < len(self) < 1 << 32, f"sign_mantissa has {len(self)} weights, expected 1 to 2^32 - 1")
        chunks, size = self.chunks, len(self.gaps)
        wanted = -(-5 * chunks * self.threads_per_block // 8)
        self._expect(size == wanted, f"gaps have {size} bytes, expected {wanted} for {chunks} chunks")
        entries = len(self.output_positions) / 4
        # The published encoder leaves out the entry of a last chunk in which no code begins.
        self._expect(entries in (chunks + 1, chunks), f"output_positions have {entries} entries, expected {chunks + 1}")
        positions = self.positions
        rising = positions[0] == 0 and positions[-1] == len(self) and (np.diff(positions) >= 0).all()
        self._expect(rising, f"output_positions do not rise from 0 to the {len(self)} weights of sign_mantissa")
        splits = self.split_positions
        within = len(splits) == 0 or (splits[0] >= 0 and splits[-1] <= len(self) and (np.diff(splits) >= 0).all())
        self._expect(within, f"split_positions do not rise within the {len(self)} weights")
        self.code  # noqa: B018  checks luts

    def _expect(self, condition: object, text: str) -> None:
        if not condition:
            raise CorruptStreamError(f"{self.name}: {text}; the file is damaged or of another kind, fetch it again")

    def __len__(self) -> int:
        """Number of weights."""
        return len(self.sign_mantissa)

    @property
    def nbytes(self) -> int:
        """Of all six fields."""
        return sum(getattr(self, field).nbytes for field in FIELDS)

    @property
    def chunk_bits(self) -> int:
        return self.threads_per_block * WINDOW

    @property
    def chunks(self) -> int:
        return -(-8 * len(self.encoded_exponent) // self.chunk_bits)

    @cached_property
    def code(self) -> PrefixCode:
        return from_luts(self.luts, self.name)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """int64 [chunks + 1]: the first weight of each chunk, then n."""
        found = np.frombuffer(self.output_positions.tobytes(), "<u4").astype(np.int64)
        return np.concatenate((found, np.full(self.chunks + 1 - len(found), len(self))))

    def window_gaps(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The gaps of the windows with these numbers: 0 to 31."""
        first = 5 * windows
        padded = np.concatenate((self.gaps, np.zeros(1, np.uint8))) if windows.size == 0 else self.gaps
        low = padded[first >> 3].astype(np.int64) << 8
        high = padded[np.minimum((first >> 3) + 1, len(padded) - 1)]
        return (low | high) >> (11 - (first & 7)) & 31

    def decode(self, out: NDArray[np.uint16] | None = None, *, threads: int = 1) -> NDArray[np.uint16]:
        """All weights as the bits of bf16: uint16 [n], to `out` if it is given.

        Raises CorruptStreamError where the bits are no codes, end early or do not meet the next chunk's beginning, and
        ValueError for another `out`.
        """
        out = np.empty(len(self), np.uint16) if out is None else out
        pool.run(lambda some: self.decode_chunks(some, out), self.shares(), threads)
        return out

    def shares(self, chunks: Collection[int] | None = None) -> list[range]:
        """Numbers of chunks, all of them when None, as ranges that a thread decodes at once."""
        found = [range(self.used_chunks)] if chunks is None else ranges_of(chunks)
        return [some[at : at + CHUNKS_AT_ONCE] for some in found for at in range(0, len(some), CHUNKS_AT_ONCE)]

    def decode_chunks(self, chunks: range, out: NDArray[np.uint16]) -> None:
        """As `decode`, of some chunks alone: writes their weights to their places in `out`."""
        if out.dtype != np.uint16 or out.shape != (len(self),) or not out.flags.c_contiguous:
            raise ValueError(f"{self.name}: out is {out.dtype} {out.shape}, expected contiguous uint16 ({len(self)},)")
        code = (self.code.codes, self.code.lengths, self.code.symbols)
        status, chunk = kernels.decode_chunks(
            self.encoded_exponent, self._starts, self.positions, chunks.start, chunks.stop, code, self.code.table,
            self.sign_mantissa, out,
        )  # fmt: skip
        self._expect(status == kernels.OK, f"chunk {chunk} of {self.used_chunks}: {FAULTS.get(status)}")

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """The bit at which each chunk that holds weights begins, then -1."""
        numbers = np.arange(self.used_chunks)
        return np.append(self.chunk_bits * numbers + self.window_gaps(self.threads_per_block * numbers), -1)

    @property
    def used_chunks(self) -> int:
        """How many chunks hold weights; one behind them holds the end of a code, or the mark of the end."""
        return int(np.searchsorted(self.positions, len(self)))

    def chunks_of(self, part: slice) -> range:
        """Numbers of the chunks in which the weights of a part lie, which must not be empty."""
        first, last = np.searchsorted(self.positions, (part.start, part.stop - 1), side="right") - 1
        return range(int(first), int(last) + 1)

    def matrices(self, weights: NDArray[np.uint16]) -> list[NDArray[np.uint16]]:
        """`weights` [n] at split_positions, each part of one dimension: the model knows the shapes."""
        return np.split(weights, self.split_positions)


def ranges_of(numbers: Collection[int]) -> list[range]:
    """The runs of numbers that follow each other."""
    found: list[range] = []
    for number in sorted(numbers):
        if found and found[-1].stop == number:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found
