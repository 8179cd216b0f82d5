# SPDX-License-Identifier: Apache-2.0
"""The one contract of all codecs: samples <-> Latent <-> bytes.

samples --analyze--> Latent --pack--> bytes        encode = pack(analyze(x))
bytes --unpack--> Latent --synthesize--> samples   decode = synthesize(unpack(b))
"""

from __future__ import annotations  # torch is loaded only where it is needed

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from isthmus.bitstream.reader import read_header
from isthmus.bitstream.single import pack_single
from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.batching import check_errors, is_one, named_by_place, refuse_path, stack_planes, stack_samples
from isthmus.codecs.units import Units
from isthmus.devices import check_device
from isthmus.errors import IsthmusError
from isthmus.forks import first_time
from isthmus.options import DecodeOptions as NoDecodeOptions
from isthmus.options import Options as NoOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class LatentSpec:
    """Everything beside the integers that the bytes hold, so that pack(unpack(data)) == data.

    header: codec id, the hashes of entropy tables and synthesis weights, signal, and options such as the quality.
    choices: what the encoder was free to choose, if the latent was unpacked; None lets `pack` choose. It takes no part
    in comparisons. layout: what the integers mean beside that, such as names and dtypes of tensors.
    """

    header: TrackHeader
    choices: Any = field(default=None, compare=False)
    layout: Any = None


@dataclass(frozen=True, eq=False)
class Latent:
    """Named integer planes and their spec: what a codec stores, and what models train on.

    Two are equal if their specs are, and their planes in name, dtype, shape and every value. They have no hash.
    """

    planes: dict[str, Tensor]
    spec: LatentSpec
    codec: Codec = field(repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Latent):
            return NotImplemented
        if self.spec != other.spec or self.planes.keys() != other.planes.keys():
            return False
        pairs = [(plane, other.planes[name]) for name, plane in self.planes.items()]
        return all(a.dtype == b.dtype and a.shape == b.shape and bool((a == b.to(a.device)).all()) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]  # planes may be changed in place

    def dequantize(self) -> dict[str, Tensor]:
        """Float planes of the same shapes, in the scale of the analysis transform: what to learn from."""
        return self.codec.dequantize(self)


class LatentBatch:
    """Latents of one codec, in order.

    latents: a sequence of `Latent`. errors: of streams that could not be unpacked, by their place in what was given;
    `latents` are the others. stacked: the planes of all latents along a new first axis, where they lie so already.
    """

    def __init__(
        self,
        latents: Sequence[Latent],
        errors: dict[int, IsthmusError] | None = None,
        stacked: dict[str, Tensor] | None = None,
    ) -> None:
        self.latents, self.errors, self._stacked = latents, errors or {}, stacked

    def __len__(self) -> int:
        return len(self.latents)

    def __repr__(self) -> str:
        broken = f", {len(self.errors)} broken" if self.errors else ""
        return f"{type(self).__name__}({len(self)} latents{broken})"

    @property
    def planes(self) -> dict[str, Tensor]:
        """Planes stacked along a new first axis: clone them before you change them, others may look at the same memory.

        Raises ValueError when the latents differ in shape.
        """
        return self._stacked or stack_planes([latent.planes for latent in self.latents])

    def dequantize(self) -> dict[str, Tensor]:
        """Dequantized planes stacked along a new first axis. Raises ValueError when the latents differ in shape."""
        return stack_planes([latent.dequantize() for latent in self.latents])


class Codec(ABC):
    """A codec with its weights. `name` is what `isthmus.load` knows it by, or the path it came from.

    kind: what it encodes, "image", "audio", "video" or "tensors". Options: what `analyze` and `encode` may be asked
    for; those that are stored are the option bytes of its streams. DecodeOptions: the same of `synthesize`, `decode`.
    in_blocks: whether it has `write`, and units with `blocks`, for samples that come and go block by block.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[NoOptions]] = NoOptions
    DecodeOptions: ClassVar[type[NoOptions]] = NoDecodeOptions
    in_blocks: ClassVar[bool] = False
    takes_lists: bool = False  # whether `analyze` of a list of samples of one shape saves time

    name: str
    codec_id: str
    device: torch.device

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, device={str(self.device)!r})"

    @classmethod
    def describe_options(cls, options: bytes) -> dict[str, Any]:
        """The option bytes of a stream as JSON values. Raises CorruptStreamError."""
        return cls.Options.unpack(options).describe()

    @abstractmethod
    def analyze(self, samples: Any, **options: Any) -> Any:
        """Samples to latent: the analysis transform and the quantizer, where the loss is. A batch to a `LatentBatch`.

        options: fields of `Options`. Raises ValueError or TypeError for samples or options that are none.
        """

    @abstractmethod
    def synthesize(self, latent: Latent, **options: Any) -> Any:
        """Latent to samples. options: fields of `DecodeOptions`."""

    @abstractmethod
    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        """Float planes in the scale of the analysis transform; no synthesis network runs."""

    @abstractmethod
    def pack(self, latent: Latent) -> bytes:
        """Latent to a whole stream, losslessly."""

    @abstractmethod
    def unpack(self, data: bytes) -> Latent:
        """Stream to latent; needs the entropy tables, not the synthesis weights.

        Raises CorruptStreamError, UnknownCodecError or WeightsMismatchError.
        """

    def unpack_unit(self, header: TrackHeader, unit: int, payload: bytes | memoryview) -> Latent:
        """One unit of a stream, as `open` reads them, to a latent; a codec of one unit a stream has that one."""
        return self.unpack(pack_single(header, payload))

    def open(self, source: Any, *, allow_loss: bool = False) -> Units:
        """The units of a stream as latents, from bytes, a path, a binary file or a pipe; see `Units`."""
        return Units(self, source, allow_loss=allow_loss)

    def encode(self, samples: Any, **options: Any) -> Any:
        """Samples to bytes; a batch to a list of bytes. options: fields of `Options`."""
        refuse_path(samples)
        with first_time(f"encode {self.codec_id}"):
            latent = self.analyze(samples, **options)
            return self.pack_batch(latent.latents) if isinstance(latent, LatentBatch) else self.pack(latent)

    def decode(self, data: bytes | Sequence[bytes], **options: Any) -> Any:
        """Bytes to samples; a list of streams, as a batch is encoded to, to what `together` makes of them.

        options: fields of `DecodeOptions`. Raises children of IsthmusError for bad streams, and names the place of one
        in a list; ValueError or TypeError for options that are none.
        """
        chosen = self.DecodeOptions.of(options)
        if is_one(data):
            self.admit(read_header(data), chosen)
            with first_time(f"decode {self.codec_id}"):
                return self.synthesize(self.unpack(data), **options)
        for place, one in enumerate(data):
            try:
                self.admit(read_header(one), chosen)
            except IsthmusError as error:
                raise named_by_place(error, place, len(data)) from error
        return self.together([self.synthesize(latent, **options) for latent in self.unpack_batch(data).latents])

    def admit(self, header: TrackHeader, options: Any) -> None:  # noqa: B027 (most have no limit)
        """Raises CorruptStreamError for a stream that `options` (`DecodeOptions`) forbid, before memory is taken."""

    @staticmethod
    def together(samples: list[Any]) -> Any:
        """Samples of several streams: stacked along a new first axis where shapes and dtypes agree, else the list."""
        return stack_samples(samples)

    def pack_batch(self, latents: Sequence[Latent]) -> list[bytes]:
        """Several latents to one stream each."""
        return [self.pack(latent) for latent in latents]

    def unpack_batch(
        self, data: Sequence[bytes], *, errors: Literal["raise", "return"] = "raise", device: str = "cpu"
    ) -> LatentBatch:
        """Several streams to latents, in order, stacked on demand where their shapes agree.

        errors: "raise" raises what `unpack` raises for the first broken stream, and names its place; "return" keeps
        the errors in the batch, beside the latents of all other streams. device: where the planes shall lie.
        """
        return unpack_each(self.unpack, data, errors, device)


def check_plane(
    plane: Tensor | None, name: str, shape: Sequence[int], dtype: torch.dtype, what: str = "pack"
) -> Tensor:
    """A plane that is to be packed, on the CPU, contiguous, of an integer dtype.

    Raises ValueError where it is missing, of another shape, of floats, or holds what the dtype does not.
    """
    if plane is None or tuple(plane.shape) != tuple(shape) or plane.dtype.is_floating_point or plane.dtype.is_complex:
        got = "missing" if plane is None else f"{plane.dtype} {tuple(plane.shape)}"
        raise ValueError(f"{what}: plane {name} is {got}, expected integers {tuple(shape)}")
    import torch

    if plane.dtype != dtype and plane.numel():
        low, high, limits = int(plane.min()), int(plane.max()), torch.iinfo(dtype)
        if low < limits.min or high > limits.max:
            raise ValueError(f"{what}: plane {name} holds {low} to {high}, expected values that fit {dtype}")
    return plane.cpu().to(dtype).contiguous()


def unpack_each(
    unpack: Callable[[bytes], Latent], data: Sequence[bytes], errors: str, device: str = "cpu"
) -> LatentBatch:
    """The `LatentBatch` of streams that are unpacked one by one; see `Codec.unpack_batch`."""
    check_errors(errors)
    device = check_device(device)
    latents, broken = [], {}
    for place, one in enumerate(data):
        try:
            latent = unpack(one)
        except IsthmusError as error:
            if errors == "raise":
                raise named_by_place(error, place, len(data)) from error
            broken[place] = named_by_place(error, place, len(data))
        else:
            planes = latent.planes if device == "cpu" else {k: v.to(device) for k, v in latent.planes.items()}
            latents.append(Latent(planes, latent.spec, latent.codec))
    return LatentBatch(tuple(latents), broken)
