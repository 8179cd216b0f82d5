# SPDX-License-Identifier: Apache-2.0
"""Compressed tensors as a running model holds them: on the CPU as they lie in the file, on other devices with an index.

An item is one or several tensors that are decoded together, one behind the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.codecs.dfloat.decoder import RUN, Decoder
from isthmus.codecs.dfloat.dtypes import UINT
from isthmus.codecs.dfloat.payload import Payload
from isthmus.errors import CorruptStreamError, MissingExtraError
from isthmus.kernels import threads as pool
from isthmus.kernels.cuda import nvrtc
from isthmus.kernels.cuda.huffman import decode as cuda_huffman
from isthmus.kernels.huffman import torch_decode
from isthmus.kernels.huffman.streams import CHUNK, HuffmanStreams
from isthmus.weights.upstream.block import UpstreamBlock, ranges_of

CHUNKS = RUN // CHUNK
OLDEST = (8, 0)  # compute capability that the kernels need: they copy to shared memory on the side
Job = Callable[[], object]
Pieces = Collection[int] | None  # numbers of pieces; all of them when None


@dataclass(frozen=True)
class Item(ABC):
    """names, shapes: of the tensors, in order; dtype: of all of them."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype

    @property
    def counts(self) -> list[int]:
        """Weights of each tensor."""
        return [prod(shape) for shape in self.shapes]

    @property
    def offsets(self) -> list[int]:
        """Where each tensor begins in what is decoded, in weights."""
        return [end - count for end, count in zip(accumulate(self.counts), self.counts, strict=True)]

    @property
    def size(self) -> int:
        """Weights of what is decoded."""
        return self.offsets[-1] + self.counts[-1]

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the item holds, wherever they are."""

    @property
    def pieces(self) -> int:
        """How many pieces can be decoded by themselves."""
        return -(-self.size // RUN)

    def pieces_of(self, part: slice) -> range:
        """Numbers of the pieces in which the weights of a part lie, which must not be empty."""
        return range(part.start // RUN, -(-part.stop // RUN))

    @abstractmethod
    def jobs(self, out: Tensor, pieces: Pieces = None) -> list[Job]:
        """What writes the weights of some pieces, or all of them, to their places in `out`, and nothing else.

        out: contiguous, of `dtype`, [size]. Jobs may run at the same time on threads, but on CUDA devices their work
        goes to the current stream of the thread. They raise CorruptStreamError for damage.
        """

    def decode(self, out: Tensor, threads: int, pieces: Pieces = None) -> None:
        """Does all jobs."""
        do_jobs(self.jobs(out, pieces), out.device, threads)

    def parts(self, flat: Tensor) -> list[Tensor]:
        """The tensors in what is decoded to `flat`."""
        listed = zip(self.offsets, self.counts, self.shapes, strict=True)
        return [flat[begin : begin + count].view(shape) for begin, count, shape in listed]

    def apart(self, number: int) -> Tensor:
        """One of the tensors, on the CPU, in memory of its own."""
        flat = torch.empty(self.size, dtype=self.dtype, device="cpu")
        self.decode(flat, torch.get_num_threads())
        return self.parts(flat)[number]


def do_jobs(jobs: Sequence[Job], device: torch.device, threads: int) -> None:
    """Runs jobs of items, on threads if it is the CPU that decodes."""
    if device.type == "cpu":
        pool.run(lambda job: job(), jobs, threads)
        return
    for job in jobs:
        job()


@dataclass(frozen=True)
class PayloadItem(Item):
    """A tensor's payload, mapped from its file. base: what its weights are XOR with, in a delta."""

    payload: Payload
    base: NDArray[Any] | None = None

    @property
    def nbytes(self) -> int:
        return len(self.payload.data)

    def jobs(self, out: Tensor, pieces: Pieces = None) -> list[Job]:
        bits = out.view(torch.uint8).numpy().view(UINT[self.payload.width])
        decoder = Decoder(self.payload)

        def work(run: int) -> None:
            part = slice(run * RUN, (run + 1) * RUN)
            try:
                decoder.decode(run, bits[part])
            except CorruptStreamError as error:
                raise CorruptStreamError(f"tensor {self.names[0]!r}: {error}") from None
            if self.base is not None:
                bits[part] ^= self.base[part]

        return [partial(work, run) for run in (range(decoder.runs) if pieces is None else pieces)]


@dataclass(frozen=True)
class UpstreamItem(Item):
    """A module of a DFloat11 checkpoint."""

    block: UpstreamBlock

    @property
    def nbytes(self) -> int:
        return self.block.nbytes

    @property
    def pieces(self) -> int:
        return self.block.used_chunks

    def pieces_of(self, part: slice) -> range:
        return self.block.chunks_of(part)

    def jobs(self, out: Tensor, pieces: Pieces = None) -> list[Job]:
        bits = out.view(torch.uint8).numpy().view(np.uint16)
        return [partial(self.block.decode_chunks, some, bits) for some in self.block.shares(pieces)]


@dataclass(frozen=True)
class DeviceItem(Item):
    """Streams of plane 0 with their index, and the other planes as they are; for decoding on the device of `out`.

    They may be on the CPU, and are then copied whenever they are decoded on another device. begins: `offsets`.
    """

    streams: HuffmanStreams
    planes: tuple[Tensor, ...]
    begins: tuple[int, ...] = (0,)

    @property
    def offsets(self) -> list[int]:
        return list(self.begins)

    @property
    def nbytes(self) -> int:
        return self.streams.nbytes + sum(plane.nbytes for plane in self.planes)

    def jobs(self, out: Tensor, pieces: Pieces = None) -> list[Job]:
        usual = pieces is None and len(self.planes) == 1 and self.streams.device == out.device
        if usual and has_kernels(out.device):
            return [cuda_huffman.prepare_bf16(self.streams, self.planes[0], out.view(torch.bfloat16))]
        return [partial(self._decode_pieces, out, pieces)]

    def _decode_pieces(self, out: Tensor, pieces: Pieces) -> None:
        streams = self.streams.to(out.device, non_blocking=True)
        planes = [plane.to(out.device, non_blocking=True) for plane in self.planes]
        if pieces is None:
            self._decode(streams, planes, out)
            return
        for some in ranges_of(pieces):
            chunks = range(some.start * CHUNKS, min(some.stop * CHUNKS, len(streams.chunk_tables)))
            part = slice(chunks.start * CHUNK, chunks.stop * CHUNK)
            self._decode(streams.part(chunks), [plane[part] for plane in planes], out[part])

    def _decode(self, streams: HuffmanStreams, planes: list[Tensor], out: Tensor) -> None:
        decoder: Any = cuda_huffman if has_kernels(out.device) else torch_decode
        if len(planes) == 1:
            decoder.decode_bf16(streams, planes[0], out=out.view(torch.bfloat16))
        elif not planes:
            decoder.decode_bytes(streams, out=out.view(torch.uint8))
        else:
            _merge4(decoder.decode_bytes(streams), planes, out)


@dataclass(frozen=True)
class PlainItem(Item):
    """Weights that no Huffman code makes smaller, as they are."""

    weights: Tensor

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes

    def jobs(self, out: Tensor, pieces: Pieces = None) -> list[Job]:
        some = [range(self.pieces)] if pieces is None else ranges_of(pieces)
        return [partial(self._copy, out, slice(numbers.start * RUN, numbers.stop * RUN)) for numbers in some]

    def _copy(self, out: Tensor, part: slice) -> None:
        out[part].copy_(self.weights[part], non_blocking=True)


@cache
def has_kernels(device: torch.device) -> bool:
    """Whether our CUDA kernels run there; torch's own operations do everywhere."""
    if device.type != "cuda" or torch.version.cuda is None or torch.cuda.get_device_capability(device) < OLDEST:
        return False
    try:
        nvrtc.library()
    except MissingExtraError:
        return False
    return True


def _merge4(exponents: Tensor, planes: list[Tensor], out: Tensor) -> None:
    """The bytes of float32 from its four planes."""
    by_byte = out.view(torch.uint8).view(-1, 4)
    by_byte[:, 0] = planes[2]
    by_byte[:, 1] = planes[1]
    by_byte[:, 2] = exponents << 7 | planes[0] & 127
    by_byte[:, 3] = planes[0] & 128 | exponents >> 1
