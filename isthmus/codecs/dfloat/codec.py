# SPDX-License-Identifier: Apache-2.0
"""Codec `dfloat.1`: tensors of floats without loss, their exponents coded (docs/format-dfloat.md)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.types import Bytes
from isthmus.bitstream import pack_single, unpack_single
from isthmus.bitstream.track import NO_HASH, TrackHeader
from isthmus.codecs.base import Codec, Latent, LatentSpec
from isthmus.codecs.batching import is_one, refuse_path
from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.dtypes import CODED, UINT
from isthmus.codecs.dfloat.options import TensorOptions
from isthmus.codecs.dfloat.payload import Payload
from isthmus.codecs.dfloat.tensor_set import CODED_PAYLOAD, RAW, Entry, pack_set, unpack_set
from isthmus.codecs.dfloat.tensors import NAMES, bits_of, tensor_of
from isthmus.codecs.registry import load
from isthmus.errors import CorruptStreamError
from isthmus.kernels.weights import planes
from isthmus.signals import TensorSignal

CODEC_ID = "dfloat.1"
PLANES = {1: ("byte",), 2: ("exponent", "sign_mantissa"), 4: ("exponent", "sign_mantissa", "low_1", "low_0")}
SMALL = 1 << 18  # weights below which threads cost more than they save


class DFloatCodec(Codec):
    """Tensors, bit for bit: a torch tensor, or a dict of them by name, of any shape.

    bfloat16, float16, float32, float8_e4m3fn and float8_e5m2 are coded, other dtypes kept as they are. A latent has
    uint8 planes: `NAME.exponent` and `NAME.sign_mantissa` of 16-bit floats (float32 has `low_1` and `low_0` too, 8-bit
    floats have one plane `byte`) in the tensor's shape, and `NAME.raw` of other dtypes; without `NAME.` for one tensor.
    """

    kind, codec_id = "tensors", CODEC_ID
    Options = TensorOptions

    def __init__(self, name: str = "dfloat", device: str = "cpu") -> None:
        self.name, self.device = name, torch.device(device)

    def __reduce__(self) -> tuple[Callable[..., Codec], tuple[str, str]]:
        return load, (self.name, str(self.device))

    def encode(self, samples: Any, **options: Any) -> bytes:
        """Tensors to bytes. options: `TensorOptions`.

        Raises TypeError for anything but tensors of the dtypes that safetensors has, ValueError for other options.
        """
        refuse_path(samples)
        header = _header(TensorOptions.of(options))
        named = _named(samples)
        return _pack(header, [(entry, bits_of(tensor)) for entry, tensor in named])

    def analyze(self, samples: Any, **options: Any) -> Latent:
        """Tensors to a `Latent`; its spec's layout are the entries: names, dtypes, shapes. Errors as `encode`."""
        header, named = _header(TensorOptions.of(options)), _named(samples)
        found: dict[str, Tensor] = {}
        for entry, tensor in named:
            for name, plane in zip(_plane_names(entry), _split(entry, bits_of(tensor)), strict=True):
                found[name] = plane
        spec = LatentSpec(header, layout=tuple(entry for entry, _ in named))
        return Latent(found, spec, self)

    def pack(self, latent: Latent) -> bytes:
        """Latent to bytes. Raises ValueError for planes that are not those of its spec."""
        return _pack(latent.spec.header, [(entry, _merge(entry, latent.planes)) for entry in latent.spec.layout])

    def unpack(self, data: bytes) -> Latent:
        """Bytes to a `Latent`. Raises children of IsthmusError only."""
        header, entries = _unpack(data)
        found: dict[str, Tensor] = {}
        for entry, body in entries:
            for name, plane in zip(_plane_names(entry), _split(entry, _decoded(body)), strict=True):
                found[name] = plane
        return Latent(found, LatentSpec(header, layout=tuple(entry for entry, _ in entries)), self)

    def synthesize(self, latent: Latent, **options: Any) -> Any:
        """Latent to a tensor or a dict of tensors, on the codec's device."""
        self.DecodeOptions.of(options)
        entries = latent.spec.layout
        return self._tensors([(entry, _merge(entry, latent.planes)) for entry in entries])

    def decode(self, data: bytes | Sequence[bytes], **options: Any) -> Any:
        """Bytes to a tensor or a dict of tensors, bit for bit; a list of streams to a list, for it has no batches.

        Raises children of IsthmusError only.
        """
        if not is_one(data):
            return super().decode(data, **options)
        self.DecodeOptions.of(options)
        _, entries = _unpack(data)
        return self._tensors([(entry, _decoded(body)) for entry, body in entries])

    @staticmethod
    def together(samples: list[Any]) -> Any:
        """The list itself: tensors of one shape are still several, as they were encoded."""
        return samples

    def dequantize(self, latent: Latent) -> dict[str, Tensor]:
        """float32 of every tensor by its name; that of a tensor by itself is "tensor"."""
        found = self.synthesize(latent)
        named = found if isinstance(found, dict) else {"tensor": found}
        return {name: tensor.float() for name, tensor in named.items()}

    def _tensors(self, found: list[tuple[Entry, Any]]) -> Any:
        tensors = {entry.name: tensor_of(bits, entry.dtype, entry.shape).to(self.device) for entry, bits in found}
        return tensors[""] if found and found[0][0].alone else tensors


CODECS: dict[str, type[Codec]] = {CODEC_ID: DFloatCodec}


def _header(options: TensorOptions) -> TrackHeader:
    return TrackHeader(CODEC_ID, NO_HASH, NO_HASH, TensorSignal(), options.pack())


def _named(samples: Any) -> list[tuple[Entry, Tensor]]:
    """Checked tensors with their entries."""
    alone = isinstance(samples, Tensor)
    tensors = {"": samples} if alone else samples
    if not isinstance(tensors, Mapping):
        raise TypeError(f"encode: got {type(samples).__name__}, expected a torch tensor or a dict of them by name")
    found = []
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.dtype not in NAMES:
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"encode: {name!r} is {kind}, expected a name and a torch tensor of a plain dtype")
        found.append((Entry(name, NAMES[tensor.dtype], tuple(tensor.shape), alone), tensor))
    return found


def _pack(header: TrackHeader, found: list[tuple[Entry, Any]]) -> bytes:
    mode = TensorOptions.unpack(header.options).mode
    bodies = []
    for entry, bits in found:
        body, storage = bits.view(np.uint8), RAW
        if entry.dtype in CODED:
            coded = coding.encode(bits, mode=mode, threads=_threads(bits.size))
            if len(coded) < len(body):
                body, storage = coded, CODED_PAYLOAD
        bodies.append((storage, body))
    return pack_single(header, pack_set([entry for entry, _ in found], bodies))


def _unpack(data: bytes) -> tuple[TrackHeader, list[tuple[Entry, Bytes | Payload]]]:
    header, unit = unpack_single(data)
    if header.codec_id != CODEC_ID or not isinstance(header.signal, TensorSignal):
        raise CorruptStreamError(f"decode: a stream of {CODEC_ID} was expected, got {header.describe()}")
    if (header.tables_hash, header.weights_hash) != (NO_HASH, NO_HASH):
        raise CorruptStreamError(
            f"decode: a stream of {CODEC_ID} has no hashes, got {header.describe()}; fetch it again"
        )
    TensorOptions.unpack(header.options)
    return header, unpack_set(unit)


def _decoded(body: Bytes | Payload) -> Any:
    """Bit patterns of a tensor, in memory of their own."""
    return body.copy() if isinstance(body, np.ndarray) else coding.decode(body, threads=_threads(body.count))


def _threads(weights: int) -> int:
    return 1 if weights < SMALL else torch.get_num_threads()


def _plane_names(entry: Entry) -> list[str]:
    names = PLANES[CODED[entry.dtype]] if entry.dtype in CODED else ("raw",)
    return list(names) if entry.alone else [f"{entry.name}.{name}" for name in names]


def _split(entry: Entry, bits: Any) -> list[Tensor]:
    """The planes of a tensor's bit patterns."""
    if entry.dtype not in CODED or CODED[entry.dtype] == 1:
        shape = entry.shape if entry.dtype in CODED else (-1,)
        return [torch.from_numpy(bits.view(np.uint8).copy()).reshape(shape)]
    bits = bits.view(UINT[CODED[entry.dtype]])
    found = [np.empty(bits.size, np.uint8) for _ in range(bits.itemsize)]
    (planes.split2 if bits.itemsize == 2 else planes.split4)(bits, *found)
    return [torch.from_numpy(plane).reshape(entry.shape) for plane in found]


def _merge(entry: Entry, found: Mapping[str, Tensor]) -> Any:
    """The inverse of `_split`. Raises ValueError for planes that are missing, of another shape, or not bytes."""
    parts = []
    for name in _plane_names(entry):
        plane = found.get(name)
        shape = None if plane is None or entry.dtype not in CODED else tuple(plane.shape)
        if plane is None or plane.dtype != torch.uint8 or shape not in (None, entry.shape):
            raise ValueError(f"pack: plane {name!r} must be there, uint8, {list(entry.shape)}")
        parts.append(plane.cpu().contiguous().reshape(-1).numpy())
    if len(parts) == 1:
        return parts[0]
    bits = np.empty(parts[0].size, UINT[len(parts)])
    merge: Any = planes.merge2 if len(parts) == 2 else planes.merge4
    merge(*parts, bits)
    return bits
