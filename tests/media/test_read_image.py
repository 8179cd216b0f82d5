# SPDX-License-Identifier: Apache-2.0
"""Odd image files, made here, through `read_image`."""

import io
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms

import isthmus
from isthmus.arrays.sample_depth import bits_per_sample
from isthmus.errors import UnreadableFileError
from isthmus.media.image import ColourWarning, PrecisionWarning, read_image
from tests.media.png_bytes import chunk, png, tiff


def noise(height, width, channels=3, dtype=np.uint8):
    top = np.iinfo(dtype).max
    return np.random.default_rng(height * 1000 + width).integers(
        0, top, (height, width, channels), dtype, endpoint=True
    )


def put(path, data):
    path.write_bytes(data)
    return path


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (300, 3), (33, 64)])
@pytest.mark.parametrize(
    ("suffix", "options"), [(".png", {}), (".tif", {}), (".webp", {"lossless": True}), (".bmp", {})]
)
def test_lossless_rgb(tmp_path, shape, suffix, options):
    array = noise(*shape)
    read = read_image(saved(tmp_path / f"x{suffix}", Image.fromarray(array), **options))
    assert np.array_equal(read, array)
    assert read.dtype == np.uint8 and read.flags.c_contiguous and read.flags.writeable


def test_grey_keeps_one_channel(tmp_path):
    array = noise(5, 9, 1)
    for suffix in (".png", ".tif"):
        assert np.array_equal(read_image(saved(tmp_path / f"x{suffix}", Image.fromarray(array[..., 0]))), array)


@pytest.mark.parametrize("suffix", [".jpg", ".avif", ".webp", ".jp2"])
def test_lossy_formats_come_close(tmp_path, suffix):
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (48, 64, 3)).copy()
    read = read_image(saved(tmp_path / f"x{suffix}", Image.fromarray(ramp), quality=95))
    assert read.shape == ramp.shape
    assert np.abs(read.astype(int) - ramp).max() <= 12


def test_one_bit_and_palette_are_expanded(tmp_path):
    bits = Image.fromarray(noise(6, 11, 1)[..., 0] > 128)
    assert np.array_equal(read_image(saved(tmp_path / "b.png", bits))[..., 0], np.asarray(bits) * np.uint8(255))
    palette = Image.fromarray(noise(6, 11)).quantize(7)
    assert np.array_equal(read_image(saved(tmp_path / "p.png", palette)), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_16_bit_png_warns_and_is_reduced(tmp_path, colour_type, channels):
    array = noise(4, 6, channels, np.uint16)
    with pytest.warns(PrecisionWarning, match="16-bit"):
        read = read_image(put(tmp_path / "x.png", png(array, colour_type)))
    exact = array / 257
    assert read.shape == array.shape
    assert np.abs(read - exact).max() <= (0.5 if channels == 1 else 1)


@pytest.mark.parametrize(("photometric", "channels"), [(1, 1), (0, 1), (2, 3)])
def test_16_bit_tiff_warns_and_is_reduced(tmp_path, photometric, channels):
    array = noise(4, 6, channels, np.uint16)
    with pytest.warns(PrecisionWarning, match="16-bit"):
        read = read_image(put(tmp_path / "x.tif", tiff(array, photometric)))
    exact = (65535 - array if photometric == 0 else array) / 257
    assert np.abs(read - exact).max() <= (0.5 if channels == 1 else 1)


def test_32_bit_and_float_tiff_are_refused(tmp_path):
    for mode, words in (("F", "float"), ("I", "16 bits")):
        path = saved(tmp_path / f"{mode}.tif", Image.new(mode, (3, 2), 7))
        with pytest.raises(UnreadableFileError, match=words):
            read_image(path)


def test_ten_bit_headers_are_seen(tmp_path):
    data = io.BytesIO()
    Image.fromarray(noise(8, 8)).save(data, "PPM")
    deep = data.getvalue().replace(b"255", b"1023", 1) + noise(8, 8).tobytes()
    with pytest.warns(PrecisionWarning, match="10-bit"):
        assert read_image(put(tmp_path / "x.ppm", deep)).shape == (8, 8, 3)


def test_16_bit_jpeg_2000(tmp_path):
    array = noise(9, 8, 1, np.uint16)
    path = saved(tmp_path / "x.jp2", Image.fromarray(array[..., 0]))
    with pytest.warns(PrecisionWarning, match="16-bit"):
        assert np.abs(read_image(path) - array / 257).max() <= 0.5


@pytest.mark.parametrize(("flags", "bits"), [(0x0C, 8), (0x4C, 10), (0x6C, 12)])
def test_avif_depth_is_in_its_configuration(flags, bits):
    head = b"....ftypavif....av1C\x81\x04" + bytes([flags, 0])
    assert bits_per_sample(SimpleNamespace(format="AVIF", mode="RGB"), head) == bits


def test_damaged_exif_is_announced(tmp_path):
    array = noise(4, 4)
    path = saved(tmp_path / "x.png", Image.fromarray(array), exif=b"Exif\0\0nonsense")
    with pytest.warns(UserWarning, match="damaged EXIF"):
        assert np.array_equal(read_image(path), array)


def test_further_pictures_of_a_phone_need_no_warning(tmp_path):
    first = Image.fromarray(noise(16, 16))
    path = saved(tmp_path / "x.jpg", first, format="MPO", save_all=True, append_images=[first])
    assert read_image(path).shape == (16, 16, 3)


def test_opaque_alpha_is_dropped(tmp_path):
    array = noise(5, 4)
    assert np.array_equal(read_image(saved(tmp_path / "a.png", Image.fromarray(array).convert("RGBA"))), array)
    grey = Image.fromarray(array[..., 0]).convert("LA")
    assert np.array_equal(read_image(saved(tmp_path / "g.png", grey)), array[..., :1])


def transparent(kind):
    array = noise(5, 4)
    if kind in ("RGBA", "LA"):
        image = Image.fromarray(array).convert(kind)
        image.putpixel((1, 2), (10, 20, 30, 0) if kind == "RGBA" else (10, 0))
        return image, {}
    image = Image.fromarray(array).quantize(3) if kind == "P" else Image.fromarray(array).convert("L")
    return image, {"transparency": image.getpixel((1, 2))}


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "L"])
def test_transparency_is_refused_or_laid_on_a_background(tmp_path, kind):
    image, options = transparent(kind)
    path = saved(tmp_path / "x.png", image, **options)
    with pytest.raises(UnreadableFileError, match="--background white"):
        read_image(path)
    white = read_image(path, background="white")
    assert white.shape[2] == (1 if kind in ("LA", "L") else 3)
    assert np.all(white[2, 1] == 255)
    assert read_image(path, background="#ff8000")[2, 1].tolist() == [255, 128, 0]


def test_half_transparent_pixel_is_blended(tmp_path):
    path = saved(tmp_path / "x.png", Image.new("RGBA", (1, 1), (200, 100, 0, 128)))
    assert np.abs(read_image(path, background="black")[0, 0].astype(int) - [100, 50, 0]).max() <= 1


def test_16_bit_transparent_keys(tmp_path):
    grey = np.array([[[1000], [40000]]], np.uint16)
    path = put(tmp_path / "g.png", png(grey, 0, chunk(b"tRNS", (1000).to_bytes(2, "big"))))
    with pytest.warns(PrecisionWarning):
        assert read_image(path, background="white")[..., 0].tolist() == [[255, round(40000 / 257)]]
    path = put(tmp_path / "c.png", png(noise(2, 2, 3, np.uint16), 2, chunk(b"tRNS", bytes(6))))
    with pytest.raises(UnreadableFileError, match="colour key over 16-bit"):
        read_image(path, background="white")


def test_unknown_background(tmp_path):
    with pytest.raises(ValueError, match="'no-such-colour' is not a colour"):
        read_image(saved(tmp_path / "x.png", Image.new("RGB", (1, 1))), background="no-such-colour")


def test_cmyk_is_converted_with_a_warning(tmp_path):
    path = saved(tmp_path / "x.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95)
    with pytest.warns(ColourWarning, match="CMYK"):
        pixel = read_image(path)[4, 4]
    assert pixel[0] > 240 and pixel[1] < 15 and pixel[2] < 15


def test_profiles_are_converted_to_srgb(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    array = noise(4, 4)
    assert np.array_equal(read_image(saved(tmp_path / "s.png", Image.fromarray(array), icc_profile=srgb)), array)
    swapped = swap_red_and_blue(srgb)  # red's colourant under blue's name: conversion must swap the channels
    read = read_image(saved(tmp_path / "w.png", Image.fromarray(array), icc_profile=swapped))
    assert np.abs(read.astype(int) - array[..., ::-1]).max() <= 2
    with pytest.warns(ColourWarning, match="profile was ignored"):
        read = read_image(saved(tmp_path / "d.png", Image.fromarray(array), icc_profile=b"not a profile"))
    assert np.array_equal(read, array)


def swap_red_and_blue(profile):
    renamed = profile.replace(b"rXYZ", b"tXYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tXYZ", b"bXYZ", 1)
    return renamed.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be")).replace(b"sRGB b", b"test b")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    array = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {1: 0, 3: 2, 6: -1, 8: 1}.get(orientation)
    expected = np.rot90(array, turned) if turned is not None else None
    if expected is None:
        flipped = {
            2: array[:, ::-1],
            4: array[::-1],
            5: array.transpose(1, 0, 2),
            7: array[::-1, ::-1].transpose(1, 0, 2),
        }
        expected = flipped[orientation]
    assert np.array_equal(read_image(saved(tmp_path / "x.png", Image.fromarray(array), exif=exif)), expected)


def test_jpeg_orientation_6(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(saved(tmp_path / "x.jpg", Image.fromarray(noise(20, 30)), exif=exif)).shape == (30, 20, 3)


def test_first_frame_with_a_warning(tmp_path):
    frames = [Image.fromarray(noise(4, 4) // (i + 1)) for i in range(3)]
    path = saved(tmp_path / "x.tif", frames[0], save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="only the first"):
        assert np.array_equal(read_image(path), np.asarray(frames[0]))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tif", ".jp2", ".bmp"])
@pytest.mark.parametrize("part", [0.03, 0.5, 0.9])
def test_truncated_files(tmp_path, suffix, part):
    whole = saved(tmp_path / f"x{suffix}", Image.fromarray(noise(40, 50))).read_bytes()
    path = put(tmp_path / f"cut{suffix}", whole[: int(len(whole) * part)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnreadableFileError, match=rf"cut{suffix}"):
            read_image(path)


def test_what_is_no_image(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"text\.png: not an image: it looks like text; expected PNG"):
        read_image(put(tmp_path / "text.png", b"Dear diary, today I was renamed."))
    with pytest.raises(UnreadableFileError, match="is empty"):
        read_image(put(tmp_path / "empty.png", b""))
    with pytest.raises(UnreadableFileError, match="no such file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(UnreadableFileError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(UnreadableFileError, match="0 pixels"):
        read_image(put(tmp_path / "zero.png", png(np.zeros((4, 0, 1), np.uint8), 0)))
    with pytest.raises(UnreadableFileError, match="not an image"):
        read_image(put(tmp_path / "x.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"))


def test_size_is_checked_before_decoding(tmp_path):
    bomb = png(np.zeros((1, 1, 1), np.uint8), 0)
    header = (50000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    bomb = bomb[:8] + chunk(b"IHDR", header) + bomb[8 + 25 :]
    with pytest.raises(UnreadableFileError, match=r"50000x50000 = 2,500,000,000 pixels; at most 268,435,456"):
        read_image(put(tmp_path / "bomb.png", bomb))
    with pytest.raises(UnreadableFileError, match="at most 5 are read"):
        read_image(saved(tmp_path / "x.png", Image.new("L", (3, 2))), max_pixels=5)


def test_pillows_own_limit_neither_applies_nor_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    array = noise(30, 30)
    path = tmp_path / "x.png"
    Image.fromarray(array).save(path)
    assert np.array_equal(read_image(path), array)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_max_pixels_is_an_option_of_encoding_a_path(tmp_path):
    path = saved(tmp_path / "x.png", Image.new("RGB", (3, 2)))
    assert isthmus.encode(path, max_pixels=np.int64(6)) == isthmus.encode(path)
    with pytest.raises(UnreadableFileError, match=r"3x2 = 6 pixels; at most 5 are read.*max_pixels"):
        isthmus.encode(path, max_pixels=5)
    with pytest.raises(ValueError, match="max_pixels 5.0, expected an integer of at least 1"):
        isthmus.encode(path, max_pixels=5.0)
