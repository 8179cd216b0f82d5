# SPDX-License-Identifier: Apache-2.0
"""Codec `dfloat`: tensors of every dtype and shape come back bit for bit, through bytes and through latents."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import isthmus
from isthmus.bitstream import pack_single, unpack_single
from isthmus.bitstream.track import NO_HASH, TrackHeader
from isthmus.codecs.dfloat.codec import DFloatCodec
from isthmus.codecs.dfloat.dtypes import CODED
from isthmus.codecs.dfloat.tensors import TORCH, bits_of, tensor_of
from isthmus.errors import CorruptStreamError, IsthmusError
from isthmus.signals import ImageSignal, TensorSignal

SHAPES = ((), (1,), (0,), (3, 0, 2), (7,), (5, 3), (2, 3, 4, 5), (257,))
SPECIAL = {  # quiet and signalling NaN with payloads, infinities, -0, the least and the greatest denormal, the ends
    torch.bfloat16: [0x7FC1, 0xFF81, 0x7F80, 0xFF80, 0x8000, 0x0001, 0x807F, 0x7F7F, 0xFFFF, 0],
    torch.float16: [0x7E01, 0xFC01, 0x7C00, 0xFC00, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFFFF, 0],
    torch.float32: [0x7FC00001, 0xFF800001, 0x7F800000, 0xFF800000, 1 << 31, 1, 0x807FFFFF, 0x7F7FFFFF, (1 << 32) - 1],
}


@pytest.fixture(scope="module")
def codec() -> DFloatCodec:
    found = isthmus.load("dfloat")
    assert isinstance(found, DFloatCodec)
    return found


def same(a: Tensor, b: Tensor) -> bool:
    """Whether dtype, shape and every bit agree."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(bits_of(a), bits_of(b)))


def random_tensor(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> Tensor:
    count = int(np.prod(shape)) * dtype.itemsize
    bits = np.random.default_rng(seed).integers(0, 2 if dtype == torch.bool else 256, count).astype(np.uint8)
    return torch.from_numpy(bits).view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)


@pytest.mark.parametrize("mode", ["huffman", "rans"])
@pytest.mark.parametrize("dtype", sorted(TORCH.values(), key=str), ids=str)
def test_every_dtype_and_shape(codec: DFloatCodec, dtype: torch.dtype, mode: Any) -> None:
    tensors = {f"{shape}": random_tensor(dtype, shape, i) for i, shape in enumerate(SHAPES)}
    data = codec.encode(tensors, mode=mode)
    found = isthmus.decode(data)
    assert list(found) == list(tensors) and all(same(found[name], tensors[name]) for name in tensors)
    latent = codec.analyze(tensors, mode=mode)
    assert codec.pack(latent) == data == codec.pack(codec.unpack(data))
    assert all(same(tensor, tensors[name]) for name, tensor in codec.synthesize(latent).items())
    for tensor in tensors.values():
        assert same(codec.decode(codec.encode(tensor, mode=mode)), tensor)


@pytest.mark.parametrize("mode", ["huffman", "rans"])
@pytest.mark.parametrize("dtype", SPECIAL, ids=str)
def test_special_values(codec: DFloatCodec, dtype: torch.dtype, mode: Any) -> None:
    integers = {2: (torch.int32, torch.int16), 4: (torch.int64, torch.int32)}[dtype.itemsize]
    patterns = torch.tensor(SPECIAL[dtype] * 500, dtype=integers[0]).to(integers[1]).view(dtype)
    data = codec.encode(patterns, mode=mode)
    assert same(codec.decode(data), patterns) and len(data) < patterns.nbytes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_every_pattern_of_16_bits(codec: DFloatCodec, dtype: torch.dtype) -> None:
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)
    assert same(codec.decode(codec.encode(every)), every)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_set(codec: DFloatCodec, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text(max_size=12), unique=True, max_size=4))
    tensors = {}
    for name in names:
        dtype = TORCH[data.draw(st.sampled_from(sorted(CODED.keys() & TORCH.keys())))]
        shape = tuple(data.draw(st.lists(st.integers(0, 9), max_size=4)))
        tensors[name] = random_tensor(dtype, shape, data.draw(st.integers(0, 99)))
    found = codec.decode(codec.encode(tensors))
    assert list(found) == names and all(same(found[name], tensors[name]) for name in names)


def test_other_layouts(codec: DFloatCodec) -> None:
    whole = torch.randn(40, 60).bfloat16()
    for tensor in (whole.t(), whole[::2, 1::3], whole[3], whole.expand(2, 40, 60), torch.nn.Parameter(whole)):
        assert same(codec.decode(codec.encode(tensor)), tensor.detach().contiguous())


def test_size_of_gaussian_weights(codec: DFloatCodec) -> None:
    weights = torch.randn(500_000, generator=torch.Generator().manual_seed(0)) * 0.02
    for dtype, huffman, rans in (
        (torch.bfloat16, 0.664, 0.656), (torch.float16, 0.86, 0.855), (torch.float32, 0.832, 0.828),
    ):  # fmt: skip
        tensor = weights.to(dtype)
        assert len(codec.encode(tensor)) < huffman * tensor.nbytes
        assert len(codec.encode(tensor, mode="rans")) < rans * tensor.nbytes


def test_planes(codec: DFloatCodec) -> None:
    tensors = {"a": torch.tensor([[-1.5, 2.0]]).bfloat16(), "b": torch.tensor([1.0]), "n": torch.tensor([3])}
    planes = codec.unpack(codec.encode(tensors)).planes
    assert list(planes) == [
        "a.exponent", "a.sign_mantissa", "b.exponent", "b.sign_mantissa", "b.low_1", "b.low_0", "n.raw",
    ]  # fmt: skip
    assert planes["a.exponent"].tolist() == [[127, 128]] and planes["a.sign_mantissa"].tolist() == [[0xC0, 0]]
    assert list(codec.unpack(codec.encode(tensors["a"])).planes) == ["exponent", "sign_mantissa"]
    floats = codec.unpack(codec.encode(tensors)).dequantize()
    assert floats["a"].tolist() == [[-1.5, 2.0]] and floats["a"].dtype == torch.float32


def test_header_and_name(codec: DFloatCodec) -> None:
    data = isthmus.encode(torch.ones(3), codec="dfloat", mode="rans")
    told = isthmus.inspect(data)
    assert (told["codec"], told["codec_id"], told["mode"]) == ("dfloat", "dfloat.1", "rans")
    assert told["signal"] == {"kind": "tensors"} and told["tables_hash"] is None
    assert isthmus.load("dfloat") is codec and pickle.loads(pickle.dumps(codec)) is codec
    assert "dfloat" in repr(codec).lower()


def test_wrong_arguments(codec: DFloatCodec) -> None:
    for samples in (3, [torch.ones(2)], {"a": np.ones(2)}, {1: torch.ones(2)}, torch.ones(2).to_sparse().indices):
        with pytest.raises(TypeError, match="encode"):
            codec.encode(samples)
    with pytest.raises(ValueError, match="mode"):
        codec.encode(torch.ones(2), mode="zip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not a tensor"):
        tensor_of(np.zeros(3, np.uint8), "F32", (1,))
    latent = codec.analyze(torch.ones(4, 4))
    for planes in ({}, {**latent.planes, "low_0": torch.zeros(4, 4)}, {**latent.planes, "exponent": torch.ones(2, 8)}):
        with pytest.raises(ValueError, match="pack: plane"):
            codec.pack(isthmus.Latent(planes, latent.spec, codec))


@pytest.mark.parametrize("options", [b"", b"\2", b"\0\0"])
def test_other_options(codec: DFloatCodec, options: bytes) -> None:
    _, unit = unpack_single(codec.encode(torch.ones(3)))
    for signal in (None, ImageSignal(1, 1)):
        header = TrackHeader("dfloat.1", NO_HASH, NO_HASH, signal or ImageSignal(2, 2), options)
        with pytest.raises(CorruptStreamError):
            isthmus.decode(pack_single(header, unit))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_units(codec: DFloatCodec, data: st.DataObject) -> None:
    """The container's checksum made right again: whatever the unit holds, a clear error or tensors."""
    tensors = {"a": torch.ones(600, dtype=torch.bfloat16), "b": torch.linspace(-1, 1, 400), "c": torch.arange(3)}
    header, unit = unpack_single(codec.encode(tensors))
    changed = bytearray(unit)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.one_of(st.integers(0, 60), st.integers(0, len(changed) - 1)))
        changed[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(changed)), st.integers(0, len(changed))))
    try:
        isthmus.decode(pack_single(header, changed[:cut]))
    except IsthmusError as error:
        assert str(error)


def test_hashes_that_it_does_not_have(codec: DFloatCodec) -> None:
    _, unit = unpack_single(codec.encode(torch.ones(3)))
    for hashes in (("0badf00d", NO_HASH), (NO_HASH, "0badf00d")):
        forged = pack_single(TrackHeader("dfloat.1", *hashes, TensorSignal(), b"\0"), unit)
        for call in (isthmus.decode, codec.decode):
            with pytest.raises(CorruptStreamError, match="fetch it again"):
                call(forged)
