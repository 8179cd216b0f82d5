# SPDX-License-Identifier: Apache-2.0
"""docs/format-walloc.md, `walloc.3`, read word for word beside the golden streams: no arithmetic of the codec's own."""

import re
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.bitstream import read_chunks, read_header
from isthmus.varint import unpack_varint

GOLDEN = sorted((Path(__file__).parents[3] / "golden" / "walloc.3").glob("*.ist"))
PAGE = (Path(__file__).parents[4] / "docs" / "format-walloc.md").read_text(encoding="utf-8")
HOP, UNIT = 256, 256 * 256


def test_there_are_streams() -> None:
    assert len(GOLDEN) >= 6 and "## `walloc.3`" in PAGE


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_stream_is_what_the_page_says(path: Path) -> None:
    data = path.read_bytes()
    header = read_header(data)
    signal = header.signal
    rate, n = signal.sample_rate, signal.samples  # type: ignore[union-attr]

    quality, at = unpack_varint(header.options)
    noise, at = unpack_varint(header.options, at)
    g = header.options[at] if at < len(header.options) else 120
    means, at = [], at + 1
    while at < len(header.options):
        z, at = unpack_varint(header.options, at)
        means.append(z // 2 if z % 2 == 0 else -(z + 1) // 2)
    assert 1 <= quality <= 100 and noise in (0, 1) and len(means) in (0, signal.channels)  # type: ignore[union-attr]
    assert isthmus.inspect(data)["quality"] == quality and 0 <= g <= 255

    coded = rate if rate in (44_100, 48_000) else 44_100 if rate % 11_025 == 0 or 44_100 % rate == 0 else 48_000
    pq = Fraction(coded, rate)
    whole = ceil(n * pq)
    units = [(chunk.unit, bytes(chunk.payload)) for chunk in read_chunks(data) if chunk.type == "P"]
    latent = isthmus.unpack(data)
    frames = levels = 0
    for unit, payload in units:
        v, at = unpack_varint(payload)
        if v:
            r, at = unpack_varint(payload, at)
            s = UNIT + 1 - v
            assert UNIT * unit + s == whole and floor((UNIT * unit + s) / pq) - r == n
        count = ceil(s / HOP) + 1 if v else 256
        length, at = unpack_varint(payload, at)
        assert bool(length) == bool(noise and count) and at + length < len(payload)
        frames, levels = frames + count, levels + (max(1, count // 64) if noise else 0)
    c = latent.codec.weights.config.latent_channels  # type: ignore[attr-defined]
    assert latent.planes["y"].shape == (c, frames) and latent.planes["noise"].shape == (68, levels)
    assert 0 <= int(latent.planes["noise"].min()) <= int(latent.planes["noise"].max()) <= 30


def test_the_groups_of_bands() -> None:
    groups, below = [], 0
    while below < HOP:
        groups.append(min(HOP - below, 1 + below // 8))
        below += groups[-1]
    assert len(groups) == 34 and "(34 groups of 256 bands)" in PAGE


def test_levels_are_coded_as_the_page_says() -> None:
    from isthmus.models.walloc.noise import level_differences

    rng = np.random.default_rng(0)
    levels = rng.integers(0, 31, (2, 34, 4)).astype(np.int16)
    expected = np.empty_like(levels)
    for g in range(34):
        for t in range(4):
            before = levels[0, g, t - 1] if t else levels[0, g - 1, 0] if g else 0
            expected[0, g, t] = levels[0, g, t] - before
            expected[1, g, t] = levels[1, g, t] - levels[0, g, t]
    assert np.array_equal(level_differences(levels.reshape(68, 4)), expected.reshape(68, 4))


def test_option_bytes_and_scales_are_as_the_page_says() -> None:
    from isthmus.codecs.walloc.audio.options import AudioOptions, scale_of
    from isthmus.codecs.walloc.audio.scale import first_look

    rows = re.findall(r"\| `((?:[0-9a-f]{2} ?)+)` \| quality (\d+), (no levels|levels).*?, g = (\d+)(.*) \|", PAGE)
    assert len(rows) == 3
    for data, quality, levels, g, rest in rows:
        options = bytes.fromhex(data)
        scale, chosen = scale_of(options), AudioOptions.unpack(options)
        assert (chosen.quality, chosen.noise, scale.gain) == (int(quality), levels == "levels", int(g))
        assert scale.means == (() if "no means" in rest else (29, -46))
        assert chosen.pack() + scale.pack() == options
    sound = np.array([[0.5, 0.25, 0.0, 0.25], [0.1, 0.1, 0.3, 0.3]], np.float32)
    means = sound.astype(float).mean(1)
    g = floor(128 + 8 * np.log2(0.5 / np.abs(sound - means[:, None]).max()))
    samples, scale = first_look([sound[:, :1], sound[:, 1:]])
    assert (samples, scale.gain) == (4, g) and scale.means == tuple(
        round(m * 65536 * 2 ** ((g - 128) / 8)) for m in means
    )
