# SPDX-License-Identifier: Apache-2.0
"""What files say of their colour: converted to sRGB, or refused; nothing is said where nothing is wrong."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from isthmus.arrays.colour.convert import grey_table, grid, rgb_converter
from isthmus.arrays.colour.littlecms import transform
from isthmus.arrays.colour.profile import space_of_profile
from isthmus.errors import UnreadableFileError
from isthmus.media.image import ColourWarning, PrecisionWarning, read_image
from tests.media import icc_bytes as icc
from tests.media.png_bytes import chunk, png, tiff

GREYS = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
MUTED = np.random.default_rng(5).integers(90, 170, (16, 16, 3), np.uint8)  # in sRGB, whatever primaries they are of
SRGB_CHROMA = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_CHROMA = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
P3_TO_SRGB = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def srgb_light(x):
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def levels(light):
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def p3_levels(samples):
    return levels(srgb_light(samples / 255) @ P3_TO_SRGB.T)


def close(read, expected, most=1.0):
    assert np.abs(read - expected).max() <= most


def gama(value):
    return chunk(b"gAMA", struct.pack(">I", value))


def chrm(points):
    return chunk(b"cHRM", struct.pack(">8I", *points))


def cicp(*values):
    return chunk(b"cICP", bytes(values))


def iccp(profile):
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


def read_png(folder, samples, *chunks, colour_type=2):
    path = folder / "x.png"
    path.write_bytes(png(samples, colour_type, *chunks))
    return read_image(path)


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


def test_hdr_profile_is_refused(tmp_path):
    hdr = icc.profile(icc.srgb_table(), cicp=b"cicp" + bytes(4) + bytes([9, 16, 0, 1]))
    with pytest.raises(UnreadableFileError, match=r"its ICC profile says PQ"):
        read_png(tmp_path, MUTED, iccp(hdr))


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


DARK = np.arange(0, 3000, 11, dtype=np.uint16)  # 273 samples within 12 levels of 8 bits


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


def test_profiles_in_every_format(tmp_path):
    """An 8-bit linear profile that calls itself sRGB; and one that is sRGB and does not."""
    linear, srgb = icc.profile(icc.LINEAR, name="sRGB IEC61966-2.1"), icc.profile(icc.srgb_table(), name="x")
    for suffix, options in ((".jpg", {"quality": 100, "subsampling": 0}), (".webp", {"lossless": True}), (".tif", {})):
        path, grey = tmp_path / f"x{suffix}", suffix != ".webp"
        Image.fromarray(GREYS.repeat(16, axis=0)).save(path, icc_profile=linear, **options)
        close(read_image(path), levels(GREYS / 255), 14 if suffix == ".jpg" else 1)  # a level of JPEG's, near black
        Image.fromarray(MUTED).save(path, icc_profile=srgb, **options)
        assert np.array_equal(read_image(path), np.asarray(Image.open(path)))
        if grey:  # a profile of RGB says of grey what it says of three equal channels
            Image.fromarray(GREYS[..., 0].repeat(16, axis=0)).save(path, icc_profile=srgb, **options)
            assert read_image(path).shape == (16, 256, 1)


def test_grey_profiles(tmp_path):
    for profile, power in (
        (icc.profile(icc.LINEAR, None), 1),
        (icc.profile(icc.LINEAR), 1),
        (icc.profile(icc.gamma(1.8), None), 1.8),
    ):
        read = read_png(tmp_path, GREYS[..., :1], iccp(profile), colour_type=0)
        close(read, levels((GREYS[..., :1] / 255) ** power))


def test_profiles_of_other_colours_are_announced(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile, words in ((icc.profile(icc.LINEAR, None), "of L colours, the samples are RGB"), (lab, "Lab")):
        with pytest.warns(ColourWarning, match=f"ignored.*{words}"):
            assert np.array_equal(read_png(tmp_path, MUTED, iccp(profile)), MUTED)


def test_cmyk_profile_is_not_taken_for_another(tmp_path):
    path = tmp_path / "x.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, icc_profile=icc.profile(icc.LINEAR))
    with pytest.warns(ColourWarning) as found:
        read_image(path)
    assert sorted(str(w.message)[:20] for w in found) == ["CMYK was converted t", "its colour profile w"]


@pytest.mark.parametrize("damage", ["cut", "zeros", "inflation"])
def test_damaged_profiles_give_one_warning(tmp_path, damage):
    whole = icc.profile(icc.LINEAR)
    statement = {
        "cut": iccp(whole[:200]),
        "zeros": iccp(whole[:132] + bytes(len(whole) - 132)),
        "inflation": chunk(b"iCCP", b"x\0\0not deflate"),
    }[damage]
    with pytest.warns(ColourWarning, match="ignored") as found:
        assert np.array_equal(read_png(tmp_path, MUTED, statement), MUTED)
    assert len(found) == 1


def test_damaged_profile_bytes_never_crash(tmp_path):
    whole, rng = icc.profile(icc.srgb_table(), "p3"), np.random.default_rng(11)
    for depth in (np.uint8, np.uint16):
        samples = MUTED[:2, :2].astype(depth)
        for _ in range(40):
            data = bytearray(whole)
            for at in rng.integers(0, 400, 3):
                data[at] = int(rng.integers(256))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert read_png(tmp_path, samples, iccp(bytes(data))).shape == (2, 2, 3)


def test_adobe_rgb_by_exif(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    path = tmp_path / "x.jpg"
    Image.new("RGB", (16, 16), (100, 160, 100)).save(path, quality=100, subsampling=0, exif=exif)
    red, green, _ = read_image(path)[8, 8].astype(int)
    assert red < 80 and abs(green - 160) < 5


CURVES = {
    "linear": icc.LINEAR,
    "power": icc.gamma(2.6),
    "table": icc.table([0, 0.3, 1]),
    "parametric 0": icc.parametric(0, 2.2),
    "parametric 1": icc.parametric(1, 2.2, 0.9, 0.1),
    "parametric 2": icc.parametric(2, 2.2, 0.98 ** (1 / 2.2) - 0.1, 0.1, 0.02),
    "parametric 3": icc.parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "parametric 4": icc.parametric(4, 2.4, 0.99 ** (1 / 2.4) - 0.05, 0.05, 0.08, 0.04, 0.01, 0.01),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("primaries", ["srgb", "p3", None])
def test_what_is_read_of_a_profile_is_what_littlecms_reads(curve, primaries):
    profile = icc.profile(CURVES[curve], primaries)
    space = space_of_profile(profile)
    colours = grid() if primaries else np.arange(256, dtype=np.uint8)
    own = rgb_converter(space, 255)(colours) if primaries else grey_table(space, 255)
    theirs = np.asarray(transform(Image.fromarray(colours[None]), profile, exact=True))[0]
    close(theirs if primaries else theirs[:, 1], own.astype(float))


def test_profiles_that_are_not_read_here():
    whole = icc.profile(icc.LINEAR)
    assert space_of_profile(whole) is not None
    for other in (
        b"",
        whole[:100],
        whole[:200],
        whole[:20] + b"Lab " + whole[24:],
        whole.replace(b"rTRC", b"sTRC"),
        whole.replace(b"curv", b"what"),
        icc.profile(icc.gamma(0)),
        icc.profile(icc.table([1, 0])),  # a negative
        whole.replace(b"mntr", b"link"),
        icc.profile(icc.parametric(5, 1, 1, 1, 1, 1, 1, 1)),
        icc.profile(icc.parametric(1, 2.2, -1, 0.1)),
        icc.profile(b"curv\0\0\0\0\xff\xff\xff\xff"),
        icc.profile(icc.LINEAR, A2B0=b"mft2" + bytes(60)),
    ):
        assert space_of_profile(other) is None
