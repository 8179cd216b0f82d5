# SPDX-License-Identifier: Apache-2.0
"""Streams of any length: blocks of any size, parts, pipes; nothing depends on how a sound is handed over or read."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.codecs.walloc.audio.scale import Loudness
from tests.codecs.walloc.audio.tiny import UNIT, Pipe, cut_at, tiny_codec, tones

LENGTHS = [0, 1, 2, 15, 16, 17, 255, 256, 257, UNIT - 1, UNIT, UNIT + 1, 2 * UNIT, 3 * UNIT + 100]
RATES = [44_100, 48_000, 8_000, 96_000]


@pytest.mark.parametrize("transform", ["mdct", "packets"])
@pytest.mark.parametrize("count", LENGTHS)
def test_what_comes_back_has_the_shape_that_went_in(transform: str, count: int) -> None:
    codec = tiny_codec(transform)
    for channels, rate in zip((1, 2, 1, 2), RATES, strict=True):
        sound = tones(channels, count)
        data = codec.encode(sound, sample_rate=rate, quality=90)
        latent = codec.unpack(data)
        assert codec.pack(latent) == data and latent == codec.analyze(sound, sample_rate=rate, quality=90)
        for options in ({}, {"synthesis": "linear"}, {"noise": False}):
            found = codec.decode(data, output="numpy", **options)
            assert found.shape == sound.shape and found.dtype == np.float32 and np.isfinite(found).all()
            assert np.array_equal(codec.synthesize(latent, output="numpy", **options), found)


def test_the_linear_synthesis_is_close() -> None:
    """The bank is exact, so that quantizer and KLT alone lose something."""
    codec, sound = tiny_codec(), tones(2, 3 * UNIT)
    found = codec.decode(
        codec.encode(sound, sample_rate=44100, quality=100), output="numpy", synthesis="linear", noise=False
    )
    assert 10 * np.log10(np.square(sound).mean() / np.square(sound - found).mean()) > 8


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(RATES),
    st.sampled_from([1, 2]),
    st.integers(0, 3 * UNIT),
    st.lists(st.integers(0, UNIT), max_size=6),
)
def test_blocks_do_not_matter(rate: int, channels: int, count: int, sizes: list[int]) -> None:
    codec, sound = tiny_codec(), tones(channels, count)
    loudness, known, unknown = Loudness(channels), io.BytesIO(), io.BytesIO()
    for block in cut_at(sound, sizes):
        loudness.add(block)
    codec.write(cut_at(sound, sizes), known, samples=count, scale=loudness.scale(), sample_rate=rate)
    assert known.getvalue() == codec.encode(sound, sample_rate=rate)
    assert codec.write(cut_at(sound, sizes), unknown, sample_rate=rate) == count
    once = io.BytesIO()
    codec.write([sound], once, sample_rate=rate)
    data = unknown.getvalue()
    assert data == once.getvalue() and codec.pack(codec.unpack(data)) == data
    units = codec.open(data)
    assert units.samples == count and units.header.signal.samples is None  # type: ignore[union-attr]
    arriving = [np.zeros((channels, 0), np.float32), *codec.open(Pipe(data)).blocks()]
    assert np.array_equal(np.concatenate(arriving, 1), codec.decode(data, output="numpy"))


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(RATES), st.integers(0, 4 * UNIT), st.integers(1, 2 * UNIT), st.booleans())
def test_a_part_is_that_of_the_whole(rate: int, first: int, count: int, linear: bool) -> None:
    codec, sound = tiny_codec(), tones(2, 4 * UNIT + 77)
    options = {"output": "numpy", "synthesis": "linear" if linear else "network"}
    data = codec.encode(sound, sample_rate=rate)
    whole = codec.decode(data, **options)
    part = codec.decode(data, start=first / rate, stop=(first + count) / rate, **options)
    assert np.array_equal(part, whole[:, first : first + count])


def test_only_the_units_of_a_part_are_read() -> None:
    codec = tiny_codec()
    data = codec.encode(tones(1, 20 * UNIT), sample_rate=44100)
    units = codec.open(data)
    asked = []
    payload = units.payload
    units.payload = lambda unit: asked.append(unit) or payload(unit)  # type: ignore[method-assign,func-returns-value]
    begin = 10 * UNIT / 44100
    list(units.blocks(start=begin, stop=begin + 0.01))
    assert set(asked) - {19} <= set(range(8, 8 + 1 + 8 * torch.get_num_threads() + 3)) and 10 in asked


def test_units_are_latents() -> None:
    codec = tiny_codec()
    data = codec.encode(tones(2, 3 * UNIT + 50), sample_rate=48000)
    units, whole = codec.open(data), codec.unpack(data)
    assert len(units) == 4 and units.header == whole.spec.header and units.sample_rate == 48000
    for name, plane in whole.planes.items():
        assert torch.equal(torch.cat([latent.planes[name] for latent in units], 1), plane)
    assert torch.equal(units[-1].planes["y"], units[3].planes["y"]) and len(units[1:3]) == 2
    with pytest.raises(IndexError):
        units[4]
    with pytest.raises(TypeError, match="pipe"):
        len(codec.open(Pipe(data)))
    with pytest.raises(ValueError, match="of a part"):
        codec.synthesize(units[0])


def test_metadata_stays() -> None:
    codec, file = tiny_codec(), io.BytesIO()
    codec.write([tones(1, 100)], file, sample_rate=8000, metadata={"tags": {"title": "Ü"}})
    assert codec.open(file.getvalue()).metadata == {"tags": {"title": "Ü"}}
    assert codec.decode(file.getvalue()).shape == (1, 100)


def test_levels_and_means_come_back() -> None:
    codec = tiny_codec()
    for factor, mean in ((1.0, 0.3), (1e-3, 0.0), (30.0, -2.0), (1e-3, 0.5)):
        sound = tones(2, 2 * UNIT) * np.float32(factor) + np.float32(mean)
        found = codec.decode(
            codec.encode(sound, sample_rate=44100, quality=100), output="numpy", synthesis="linear", noise=False
        )
        error = np.square(sound - found).mean()
        assert error < np.square(sound - sound.mean()).mean() / 5


def test_silence_comes_back_as_silence() -> None:
    codec, quiet = tiny_codec(), 40 * 16
    sound = tones(2, 4 * UNIT)
    sound[:, UNIT - 8 * 16 : 3 * UNIT] = 0
    latent = codec.analyze(sound, sample_rate=44100, noise=False)
    latent.planes["y"][:, 256:768] = 0  # means are kept apart from latents
    found = codec.synthesize(latent, output="numpy")
    within = found[:, UNIT + quiet : 3 * UNIT - quiet]
    assert np.array_equal(within, np.broadcast_to(within[:, :1], within.shape))
    linear = codec.synthesize(latent, output="numpy", synthesis="linear")
    assert np.array_equal(within, linear[:, UNIT + quiet : 3 * UNIT - quiet]) and not np.array_equal(found, linear)


def test_samples_do_not_depend_on_threads_or_groups() -> None:
    codec, before = tiny_codec(), torch.get_num_threads()
    data = codec.encode(tones(2, 9 * UNIT + 100), sample_rate=22050)
    for options in ({}, {"synthesis": "linear"}):
        found = []
        for threads in (1, 2, 5):
            try:
                torch.set_num_threads(threads)
                found.append(codec.decode(data, output="numpy", **options))
            finally:
                torch.set_num_threads(before)
        found.append(np.concatenate(list(codec.open(Pipe(data)).blocks(**options)), 1))
        assert all(np.array_equal(found[0], other) for other in found[1:])
