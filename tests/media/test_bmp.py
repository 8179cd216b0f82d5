# SPDX-License-Identifier: Apache-2.0
"""Headers of BMP files, versions 4 and 5, that say how their colours are meant."""

import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from isthmus.errors import UnreadableFileError
from isthmus.media.image import ColourWarning, read_image
from tests.media import icc_bytes as icc

GREEN = np.full((4, 4, 3), (80, 160, 80), np.uint8)
NOTHING = bytes(48)
ENDS = [round(v * 2**30) for x, y in icc.PRIMARIES["p3"] for v in (x, y, 1 - x - y)]


def bmp(folder, kind, calibration=NOTHING, profile=b"", length=None, version=5):
    path = folder / "x.bmp"
    Image.fromarray(GREEN).save(path)
    old = path.read_bytes()
    size = 124 if version == 5 else 108
    pixels, header = old[54:], struct.pack("<I", size) + old[18:54] + bytes(16) + kind + calibration
    if version == 5:
        header += struct.pack("<4I", 4, size + len(pixels), len(profile) if length is None else length, 0)
    at = 14 + size
    path.write_bytes(b"BM" + struct.pack("<III", at + len(pixels) + len(profile), 0, at) + header + pixels + profile)
    return path


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_image(path)[1, 1].tolist()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("kind", [b"BGRs", b" niW", bytes(4)])
def test_srgb(tmp_path, version, kind):
    assert read(bmp(tmp_path, kind, version=version)) == [80, 160, 80]


@pytest.mark.parametrize("gamma", [1 / 2.2, 2.2])
def test_srgb_by_numbers(tmp_path, gamma):
    ends = [round(v * 2**30) for x, y in icc.PRIMARIES["srgb"] for v in (x, y, 1 - x - y)]
    assert read(bmp(tmp_path, bytes(4), struct.pack("<9i3I", *ends, *[round(gamma * 65536)] * 3))) == [80, 160, 80]


def test_profile(tmp_path):
    path = bmp(tmp_path, b"DEBM", profile=icc.profile(icc.LINEAR))
    assert np.abs(np.array(read(path)) - [151.0, 207, 151]).max() <= 1


def test_profile_without_a_file_header(tmp_path):
    path = bmp(tmp_path, b"DEBM", profile=icc.profile(icc.LINEAR))
    (tmp_path / "x.dib").write_bytes(path.read_bytes()[14:])
    assert np.abs(np.array(read(tmp_path / "x.dib")) - [151.0, 207, 151]).max() <= 1


def test_gamma_and_primaries(tmp_path):
    path = bmp(tmp_path, bytes(4), struct.pack("<9i3I", *[0] * 9, *[65536] * 3))
    assert np.abs(np.array(read(path)) - [151.0, 207, 151]).max() <= 1
    path = bmp(tmp_path, bytes(4), struct.pack("<9i3I", *ENDS, 0, 0, 0))
    red, green, _ = read(path)
    assert red < 70 and green > 160


def test_what_is_refused(tmp_path):
    for options, words in [
        ({"kind": b"KNIL"}, "a file of its own"),
        ({"kind": b"DEBM", "profile": b"abc", "length": 4}, "4 bytes is cut off"),
        ({"kind": b"DEBM", "length": 2**32 - 1}, "cut off or too long"),
        ({"kind": bytes(4), "calibration": bytes(36) + struct.pack("<3I", 65536, 65536, 2**31)}, "have gammas"),
    ]:
        with pytest.raises(UnreadableFileError, match=words):
            read_image(bmp(tmp_path, **options))


def test_damaged_profile(tmp_path):
    with pytest.warns(ColourWarning, match="ignored"):
        read_image(bmp(tmp_path, b"DEBM", profile=b"no profile"))
