# SPDX-License-Identifier: Apache-2.0
"""The one contract, held by every family: `tests/codecs/FAMILY/cases.py` is all that a family writes for it."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import torch

import isthmus
from isthmus.bitstream import read_header
from isthmus.codecs.registry import FAMILIES, class_of, codec_class, newest, package_of
from isthmus.errors import CorruptStreamError, UnknownCodecError
from isthmus.options import kinds_of, parse
from tests.codecs.case import Case, decibels, decoded, every_case, same

pytestmark = pytest.mark.usefixtures("every_family")
each_case = pytest.mark.parametrize("case", every_case(), ids=lambda case: case.name)


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@each_case
def test_round_trip(case: Case) -> None:
    codec, samples = isthmus.load(case.codec), case.samples()
    data = codec.encode(samples, **case.options)
    assert isinstance(data, bytes) and same(decoded(isthmus.load(case.codec), data), decoded(codec, data))
    if case.exact:
        assert same(decoded(codec, data), samples)
    else:
        assert decibels(samples, decoded(codec, data)) >= case.least
    assert same(isthmus.decode(data), codec.decode(data))


@each_case
def test_encode_is_pack_of_analyze_and_pack_inverts_unpack(case: Case) -> None:
    codec = isthmus.load(case.codec)
    latent = codec.analyze(case.samples(), **case.options)
    data = codec.pack(latent)
    assert data == case.encode()
    again = codec.unpack(data)
    assert same(again.planes, latent.planes) and again.spec.header == latent.spec.header
    assert codec.pack(again) == data and isthmus.unpack(data).codec is not None
    assert same(codec.synthesize(again), codec.decode(data))
    for plane in again.planes.values():
        assert not plane.dtype.is_floating_point


@each_case
def test_dequantize_gives_floats(case: Case) -> None:
    floats = isthmus.unpack(case.encode()).dequantize()
    assert all(plane.dtype == torch.float32 for plane in floats.values())


@each_case
def test_a_batch_is_its_single_streams(case: Case) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    latents = codec.unpack_batch([data] * 3)
    assert len(latents) == 3 and not latents.errors
    for latent in latents.latents:
        assert same(latent.planes, codec.unpack(data).planes) and latent.spec == codec.unpack(data).spec
    assert codec.pack_batch(latents.latents) == [data] * 3
    fresh = codec.analyze(case.samples(), **case.options)
    assert codec.pack_batch([fresh, latents.latents[0]]) == [data, data]
    for name, plane in latents.planes.items():
        assert same(plane[1], codec.unpack(data).planes[name])
    assert same(latents.dequantize(), {k: torch.stack([v] * 3) for k, v in codec.unpack(data).dequantize().items()})
    assert len(codec.unpack_batch([])) == 0 and codec.pack_batch([]) == []
    assert codec.pack_batch(iter(latents.latents)) == [data] * 3  # type: ignore[arg-type]
    assert same(codec.unpack_batch([data], device="cpu:0").latents[-1].planes, codec.unpack(data).planes)
    for plane in latents.latents[0].planes.values():  # what is changed in a latent stays, and in no other
        plane.zero_()
    assert all(not plane.any() for plane in latents.latents[0].planes.values())
    assert same(latents.latents[1].planes, codec.unpack(data).planes)


@each_case
def test_a_list_of_streams_decodes_to_what_one_does(case: Case) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    one = codec.decode(data)
    for batch in (codec.decode([data, data]), codec.decode((data, data)), isthmus.decode([data, data])):
        assert len(batch) == 2 and same(batch[0], one) and same(batch[1], one)
        stacked = isinstance(one, torch.Tensor) and codec.kind != "tensors"
        assert isinstance(batch, torch.Tensor if stacked else list)
    assert codec.decode([]) == isthmus.decode([]) == []
    for call in (codec.decode, isthmus.decode):
        with pytest.raises(CorruptStreamError, match="stream 1 of 3"):
            call([data, data[:-1] + bytes([data[-1] ^ 1]), data])
        with pytest.raises(CorruptStreamError, match="stream 2 of 3"):
            call([data, data, b""])
        with pytest.raises(TypeError, match="speling"):
            call([data], speling=3)


@each_case
def test_latents_are_equal_by_what_they_hold(case: Case) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    latent, again = codec.analyze(case.samples(), **case.options), codec.unpack(data)
    assert latent == again == pickle.loads(pickle.dumps(again)) and latent != data
    with pytest.raises(TypeError, match="unhashable"):
        hash(latent)
    for name, plane in latent.planes.items():
        for other in (plane.to(torch.float64), plane[None], plane + 1):
            changed = isthmus.Latent(latent.planes | {name: other}, latent.spec, codec)
            assert (changed == latent) == (
                plane.numel() == 0 and other.shape == plane.shape and plane.dtype == other.dtype
            )
    assert not latent.planes or isthmus.Latent({}, latent.spec, codec) != latent


@each_case
def test_one_broken_stream_is_named_and_no_other_is_lost(case: Case) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(CorruptStreamError, match="stream 2 of 4"):
        codec.unpack_batch([data, data, damaged, data])
    batch = codec.unpack_batch([data, b"", damaged, data, data[:-3]], errors="return")
    assert list(batch.errors) == [1, 2, 4] and len(batch) == 2
    assert all(f"stream {place} of 5" in str(error) for place, error in batch.errors.items())
    assert all(same(latent.planes, codec.unpack(data).planes) for latent in batch.latents)
    assert codec.pack_batch(batch.latents) == [data] * 2
    with pytest.raises(ValueError, match="'raise' or 'return'"):
        codec.unpack_batch([data], errors="ignore")  # type: ignore[arg-type]


@each_case
def test_codecs_and_latents_travel(case: Case) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    assert pickle.loads(pickle.dumps(codec)) is codec and len(pickle.dumps(codec)) < 300
    latent = pickle.loads(pickle.dumps(codec.unpack(data)))
    assert codec.pack(latent) == data and same(latent.dequantize(), codec.unpack(data).dequantize())


@each_case
def test_the_header_is_json_and_names_the_codec(case: Case) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    told = isthmus.inspect(data)
    assert told == json.loads(json.dumps(told))
    assert told["signal"]["kind"] == codec.kind and told["codec_id"] in FAMILIES[case.codec.split("-")[0]]
    assert isthmus.load(told["codec"]).unpack(data).planes.keys() == codec.unpack(data).planes.keys()
    header = read_header(data)
    rate = header.signal.rate(len(data), case.samples())
    assert header.signal.unit and str(header.signal) and (rate is None or rate > 0)


@each_case
@pytest.mark.usefixtures("threads")
def test_bytes_do_not_depend_on_threads(case: Case) -> None:
    found = set()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.add(case.encode())
    assert len(found) == 1


@each_case
def test_options_are_one_thing(case: Case) -> None:
    """Keyword arguments, text, flags and option bytes come from the same fields."""
    codec = isthmus.load(case.codec)
    options, data = codec.Options.of(case.options), case.encode()
    assert codec.Options.unpack(options.pack()).describe() == options.describe()
    assert read_header(data).options.startswith(options.pack())  # what the samples decide may follow
    assert options.describe().items() <= isthmus.inspect(data).items()
    for f in fields(options):
        value, kind = getattr(options, f.name), kinds_of(type(options))[f.name]
        assert f.metadata["help"] and (value is None or parse(type(options), f.name, str(value)) == value)
        for wrong in ([], object(), *([kind.base()] if kind.choices and kind.base() not in kind.choices else [])):
            with pytest.raises(ValueError, match=f.name):
                codec.encode(case.samples(), **{**case.options, f.name: wrong})
    for call in (lambda **o: codec.encode(case.samples(), **o), lambda **o: codec.decode(data, **o)):
        with pytest.raises(TypeError, match="speling"):
            call(speling=3)


@each_case
def test_wrong_samples_are_refused(case: Case) -> None:
    wrong: Any
    for wrong in (None, 3, "text", b"bytes", object()):
        with pytest.raises((TypeError, ValueError)):
            isthmus.load(case.codec).encode(wrong)


@each_case
def test_pack_refuses_other_planes(case: Case) -> None:
    codec = isthmus.load(case.codec)
    latent = codec.unpack(case.encode())
    for name, plane in latent.planes.items():
        if name.endswith("raw"):
            continue  # bytes of any number
        wrong = [plane.float(), plane[None], torch.cat([plane.reshape(-1), plane.new_zeros(1)])]
        for other in [latent.planes | {name: one} for one in wrong] + [{}]:
            with pytest.raises(ValueError, match="pack: plane"):
                codec.pack(isthmus.Latent(other, latent.spec, codec))


@each_case
def test_a_codec_says_what_it_is(case: Case) -> None:
    codec = isthmus.load(case.codec)
    assert codec.name in repr(codec) and "device='cpu'" in repr(codec) and codec.kind in ("image", "audio", "tensors")


@pytest.mark.parametrize("family", [*FAMILIES, "toy"])
def test_a_package_keeps_the_registrys_word(family: str) -> None:
    package = package_of(family)
    assert tuple(package.CODECS) == FAMILIES[family] and all(codec_class(i) is c for i, c in package.CODECS.items())
    for name, entry in newest().items():
        if entry.codec_id in FAMILIES[family]:
            assert name.split("-")[0] == family and class_of(name).kind == entry.kind
            assert isthmus.load(name).codec_id == entry.codec_id
    for name in (f"{family}:nothing-of-this-name", f"{family}-nothing-of-this-name"):
        with pytest.raises(UnknownCodecError):
            isthmus.load(name)
