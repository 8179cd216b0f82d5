# SPDX-License-Identifier: Apache-2.0
"""What files say of their colour: converted to sRGB, or refused; nothing is said where nothing is wrong."""

import warnings

import numpy as np
import pytest
from PIL import Image

from isthmus.errors import UnreadableFileError
from isthmus.media.image import ColourWarning, read_image
from tests.media import icc_bytes as icc
from tests.media.colours import (
    GREYS,
    MUTED,
    P3_CHROMA,
    SRGB_CHROMA,
    chrm,
    cicp,
    close,
    gama,
    iccp,
    levels,
    p3_levels,
    read_png,
)
from tests.media.png_bytes import chunk, png


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk(b"sRGB", b"\0")],
        [gama(45455)],
        [gama(45455), chrm(SRGB_CHROMA)],
        [chrm(SRGB_CHROMA)],
        [cicp(1, 13, 0, 1)],
        [cicp(1, 1, 0, 1)],
        [cicp(2, 2, 0, 1)],
        [iccp(icc.profile(icc.srgb_table(), name="by any name"))],
    ],
)
def test_what_is_srgb_is_left_alone(tmp_path, chunks):
    assert np.array_equal(read_png(tmp_path, MUTED, *chunks), MUTED)
    assert np.array_equal(read_png(tmp_path, GREYS, *chunks), GREYS)


def test_precedence(tmp_path):
    """cICP before iCCP before sRGB before gAMA and cHRM (PNG 3, 4.3)."""
    linear, srgb = icc.profile(icc.LINEAR), icc.profile(icc.srgb_table())
    for chunks in (
        [chunk(b"sRGB", b"\0"), gama(100000), chrm(P3_CHROMA)],
        [iccp(srgb), chunk(b"sRGB", b"\0"), gama(100000)],
        [cicp(1, 13, 0, 1), iccp(linear), gama(100000)],
        [iccp(linear), cicp(1, 13, 0, 1)],
    ):
        assert np.array_equal(read_png(tmp_path, MUTED, *chunks), MUTED)
    for chunks in ([cicp(1, 8, 0, 1), iccp(srgb)], [iccp(linear), chunk(b"sRGB", b"\0")]):
        close(read_png(tmp_path, GREYS, *chunks), levels(GREYS / 255))


@pytest.mark.parametrize(
    ("chunks", "power"), [([gama(100000)], 1), ([gama(55556)], 1.8), ([cicp(1, 8, 0, 1)], 1), ([cicp(1, 4, 0, 1)], 2.2)]
)
def test_curves(tmp_path, chunks, power):
    expected = levels((GREYS / 255) ** power)
    close(read_png(tmp_path, GREYS, *chunks), expected)
    close(read_png(tmp_path, GREYS[..., :1], *chunks, colour_type=0), expected[..., :1])


@pytest.mark.parametrize(
    "chunks", [[chrm(P3_CHROMA)], [cicp(12, 13, 0, 1)], [iccp(icc.profile(icc.srgb_table(), "p3"))]]
)
def test_primaries(tmp_path, chunks):
    close(read_png(tmp_path, MUTED, *chunks), p3_levels(MUTED))
    assert np.abs(p3_levels(MUTED) - MUTED).max() > 5
    assert np.array_equal(read_png(tmp_path, GREYS, *chunks), GREYS)  # white stays white
    red = np.full((4, 4, 3), [255, 0, 0], np.uint8)
    with pytest.warns(ColourWarning, match="clipped"):
        assert read_png(tmp_path, red, *chunks).tolist() == red.tolist()


@pytest.mark.parametrize("number", [1, 4, 5, 6, 7, 8, 9, 11, 12, 22])
def test_white_is_white_in_all_primaries(tmp_path, number):
    close(read_png(tmp_path, GREYS, cicp(number, 13, 0, 1)), GREYS)


def test_video_range(tmp_path):
    narrow = np.array([[[16] * 3, [235] * 3, [4] * 3, [250] * 3]], np.uint8)
    assert read_png(tmp_path, narrow, cicp(1, 13, 0, 0))[0, :, 0].tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((9, 16, 0, 1), r"its cICP chunk says PQ \(HDR\).*tone-map"),
        ((9, 18, 0, 1), "says HLG"),
        ((1, 9, 0, 1), "transfer function 9"),
        ((10, 13, 0, 1), "colour primaries 10"),
        ((1, 13, 1, 1), "cICP chunk is 010d0101"),
        ((1, 13, 0), "cICP chunk is"),
    ],
)
def test_refused_code_points(tmp_path, values, words):
    with pytest.raises(UnreadableFileError, match=words):
        read_png(tmp_path, MUTED, cicp(*values))


@pytest.mark.parametrize(
    "chunks",
    [[gama(0)], [gama(0xFFFFFFFF)], [chrm((0,) * 8)], [chrm((31270, 32900) * 4)], [chrm((31270, 0xFFFFFFFF) * 4)]],
)
def test_senseless_gamma_and_chromaticities_are_announced(tmp_path, chunks):
    with pytest.warns(ColourWarning, match="gamma or primaries were ignored"):
        assert np.array_equal(read_png(tmp_path, MUTED, *chunks), MUTED)


def test_palette(tmp_path):
    palette = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
    indices = np.array([[[0], [1]]], np.uint8)
    read = read_png(tmp_path, indices, gama(100000), palette, colour_type=3)
    close(read, levels(np.array([[[10, 20, 30], [200, 100, 50]]]) / 255))


def test_transparent_pixels_are_converted_before_they_are_laid_on_a_background(tmp_path):
    rgba = np.dstack([MUTED, np.full((16, 16), 255, np.uint8)])
    rgba[0, 0, 3] = 0
    path = tmp_path / "x.png"
    path.write_bytes(png(rgba, 6, gama(100000)))
    read = read_image(path, background="#204060")
    assert read[0, 0].tolist() == [0x20, 0x40, 0x60]
    close(read[1:], levels(MUTED[1:] / 255))


def test_adobe_rgb_by_exif(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    path = tmp_path / "x.jpg"
    Image.new("RGB", (16, 16), (100, 160, 100)).save(path, quality=100, subsampling=0, exif=exif)
    red, green, _ = read_image(path)[8, 8].astype(int)
    assert red < 80 and abs(green - 160) < 5


@pytest.mark.parametrize("falls", [False, True])
def test_curve_of_tiff(tmp_path, falls):
    curve = np.linspace(0, 65535, 256).astype(int)[:: -1 if falls else 1].tolist()
    Image.fromarray(np.full((8, 8, 3), 80, np.uint8)).save(tmp_path / "x.tif", tiffinfo={301: curve})
    with pytest.warns(ColourWarning, match="that falls") if falls else warnings.catch_warnings():
        pixels = read_image(tmp_path / "x.tif")
    assert abs(int(pixels[0, 0, 0]) - (80 if falls else 151)) <= 1
