# SPDX-License-Identifier: Apache-2.0
"""The comparison of one image: sizes, numbers and the sheet."""

import numpy as np
import pytest

from isthmus.bench.compare import compare, encode_within, numbers_table
from isthmus.bench.metrics.image import psnr
from isthmus.bench.peers.pillow import JPEG, WEBP
from isthmus.bench.sheets.image import most_detailed
from tests.bench.coarse_codec import CoarseCodec


def picture(height, width, channels=3):
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(x / (4 + c)) * np.cos(y / 6) for c in range(channels)]
    return np.stack(planes, axis=2).astype(np.uint8)


def test_rivals_take_no_more_bytes():
    image = picture(120, 100)
    result = compare(image, CoarseCodec(), {"quality": 60}, "a title")
    ours, *rivals = result.measurements
    assert (ours.codec, ours.setting) == ("coarse", "quality=60")
    assert ours.bpp == pytest.approx(8 * ours.bytes / 12000)
    assert [rival.codec for rival in rivals] == ["jpeg", "webp"]
    assert all(rival.bytes <= ours.bytes and rival.note in ("", "its largest file") for rival in rivals)
    decoded = JPEG.decode(JPEG.encode(image, quality=int(rivals[0].setting.removeprefix("quality="))))
    assert rivals[0].psnr == psnr(image, decoded)
    assert result.sheet.mode == "RGB"


@pytest.mark.parametrize("codec", [JPEG, WEBP])
def test_bisection_finds_the_largest_quality(codec):
    image = picture(64, 64)
    limit = len(codec.encode(image, quality=50)) + 1
    quality, data = encode_within(codec, image, limit)
    assert quality >= 50 and len(data) <= limit
    assert data == codec.encode(image, quality=quality)
    assert len(codec.encode(image, quality=quality + 1)) > limit
    assert encode_within(codec, image, 1)[0] == 1
    assert encode_within(codec, image, 10**9)[0] == 100


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 1), (700, 2, 3), (31, 17, 1)])
def test_any_shape(shape):
    result = compare(picture(*shape), CoarseCodec(), {"quality": 90})
    assert len(result.measurements) == 3
    assert result.sheet.width > 1500 and result.sheet.height < 1700


def test_note_where_even_the_smallest_file_is_larger():
    result = compare(np.zeros((8, 8, 3), np.uint8), CoarseCodec(), {"quality": 1}, rivals=[JPEG])
    assert result.measurements[1].note == "its smallest file"
    assert "its smallest file" in numbers_table(result.measurements)


def test_table_is_aligned():
    lines = numbers_table(compare(picture(50, 60), CoarseCodec(), {"quality": 60}).measurements).splitlines()
    assert len(lines) == 4 and lines[0].split()[:3] == ["codec", "setting", "bytes"]
    assert len({line.index(".") for line in lines[1:]}) == 1


@pytest.mark.parametrize("place", [(0, 0), (40, 72), (90, 130)])
def test_detail_is_found(place):
    image = np.full((120, 160, 3), 90, np.uint8)
    top, left = place
    image[top : top + 30, left : left + 30] = np.random.default_rng(0).integers(0, 256, (30, 30, 3))
    found = most_detailed(image, 30, 30)
    assert abs(found[0] - top) <= 8 and abs(found[1] - left) <= 8


def test_detail_of_a_long_image_is_searched_in_steps():
    image = np.zeros((12, 9000, 3), np.uint8)
    image[:, 6000:6100] = np.random.default_rng(0).integers(0, 256, (12, 100, 3))
    top, left = most_detailed(image, 12, 100)
    assert top == 0 and abs(left - 6000) <= 24
