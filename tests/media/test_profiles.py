# SPDX-License-Identifier: Apache-2.0
"""ICC profiles in files: judged by what they do, converted, and announced where they cannot be."""

import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms

from isthmus.arrays.colour.convert import grey_table, grid, rgb_converter
from isthmus.arrays.colour.littlecms import transform
from isthmus.arrays.colour.profile import space_of_profile
from isthmus.errors import UnreadableFileError
from isthmus.media.image import ColourWarning, read_image
from tests.media import icc_bytes as icc
from tests.media.colours import GREYS, MUTED, close, iccp, levels, read_png
from tests.media.png_bytes import chunk


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_hdr_profile_is_refused(tmp_path):
    hdr = icc.profile(icc.srgb_table(), cicp=b"cicp" + bytes(4) + bytes([9, 16, 0, 1]))
    with pytest.raises(UnreadableFileError, match=r"its ICC profile says PQ"):
        read_png(tmp_path, MUTED, iccp(hdr))


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


def test_what_is_left_to_littlecms(tmp_path):
    """A negative; and grey under a profile of RGB whose channels differ, which is tinted."""
    for primaries, samples in ((None, GREYS[..., :1]), ("srgb", GREYS)):
        read = read_png(
            tmp_path, samples, iccp(icc.profile(icc.table([1, 0]), primaries)), colour_type=2 * bool(primaries)
        )
        close(read, levels(1 - samples / 255), 2)
    warm = icc.profile(icc.gamma(2.2))
    at = warm.index(icc.gamma(2.2))
    warm = warm[:at] + icc.gamma(1.8) + warm[at + len(icc.gamma(1.8)) :]
    read = read_png(tmp_path, GREYS[..., :1], iccp(warm), colour_type=0)
    assert read.shape == (1, 256, 3) and read[0, 128, 0] > read[0, 128, 1] + 10
