# SPDX-License-Identifier: Apache-2.0
"""Colours of 16-bit samples, converted as they are, and what TIFF says of them."""

import struct
import warnings

import numpy as np
import pytest

from isthmus.media.image import ColourWarning, PrecisionWarning, read_image
from tests.media import icc_bytes as icc
from tests.media.colours import (
    DARK,
    GREYS,
    MUTED,
    P3_CHROMA,
    cicp,
    close,
    gama,
    iccp,
    levels,
    p3_levels,
    read_png,
)
from tests.media.png_bytes import tiff


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("statement", [gama(100000), cicp(1, 8, 0, 1), iccp(icc.profile(icc.LINEAR, name="sRGB"))])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_linear_png_does_not_band(tmp_path, statement, channels):
    samples = np.repeat(DARK[None, :, None], channels, axis=2)
    if channels == 4:
        samples[..., 3] = 65535
    if channels == 1 and statement[4:8] == b"iCCP":
        statement = iccp(icc.profile(icc.LINEAR, None))
    with pytest.warns(PrecisionWarning):
        read = read_png(tmp_path, samples, statement, colour_type={1: 0, 3: 2, 4: 6}[channels])
    close(read[0, :, 0], levels(DARK / 65535), 0.6)
    assert len(np.unique(read)) > 50


def write_tiff(path, samples, *tags):
    """tags: (number, kind, count, bytes) to add, sorted behind those that are there."""
    plain = tiff(samples, 2 if samples.shape[2] == 3 else 1)
    old, count = struct.unpack("<I", plain[4:8])[0], struct.unpack("<H", plain[8:10])[0]
    entries = [plain[old + 2 + 12 * i : old + 14 + 12 * i] for i in range(count)]
    data = b""
    for number, kind, values, value in tags:
        entries.append(struct.pack("<HHII", number, kind, values, len(plain) + len(data)))
        data += value + bytes(len(value) % 2)
    entries.sort(key=lambda entry: entry[:2][::-1])
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(plain[:4] + struct.pack("<I", len(plain) + len(data)) + plain[8:] + data + directory)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_linear_tiff_does_not_band(tmp_path, channels):
    profile = icc.profile(icc.LINEAR, "srgb" if channels == 3 else None)
    samples = np.repeat(DARK[None, :, None], channels, axis=2)
    path = write_tiff(tmp_path / "x.tif", samples, (34675, 7, len(profile), profile))
    with pytest.warns(PrecisionWarning):
        read = read_image(path)
    close(read[0, :, 0], levels(DARK / 65535), 0.6)


def fractions(values):
    return b"".join(struct.pack("<II", v, 100000) for v in values)


def test_tiff_primaries(tmp_path):
    tags = [(318, 5, 2, fractions(P3_CHROMA[:2])), (319, 5, 6, fractions(P3_CHROMA[2:]))]
    close(read_image(write_tiff(tmp_path / "x.tif", MUTED, *tags)), p3_levels(MUTED))


@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_transfer_function(tmp_path, channels):
    light = np.tile((np.arange(256) * 257).astype("<u2"), channels)
    read = read_image(write_tiff(tmp_path / "x.tif", GREYS, (301, 3, len(light), light.tobytes())))
    close(read, levels(GREYS / 255))
    path = write_tiff(tmp_path / "x.tif", MUTED, (301, 3, 100, light[:100].tobytes()))
    with pytest.warns(ColourWarning, match="transfer function of 100 entries"):
        assert np.array_equal(read_image(path), MUTED)
