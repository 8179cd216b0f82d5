# SPDX-License-Identifier: Apache-2.0
"""Colour boxes of AVIF and JPEG 2000: of the primary item, bounded, whole or refused."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from isthmus.errors import UnreadableFileError
from isthmus.media.av1 import colour_of
from isthmus.media.boxes import MAX_BOXES, beginning_of_primary_item, boxes, colours_of_primary_item
from isthmus.media.colour import stated_colour
from isthmus.media.image import ColourWarning, read_image
from tests.media import icc_bytes as icc

GREEN = np.full((24, 24, 3), [80, 160, 80], np.uint8)


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def nclx(primaries, transfer):
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, 6, 0x80))


def heif(properties, associations, item=1, version=0, wide=False):
    """A file of a `meta` box alone: associations are (item, [property, ...])."""
    number = ">I" if version else ">H"
    entries = b""
    for one, places in associations:
        entries += struct.pack(number, one) + bytes([len(places)])
        entries += struct.pack(f">{len(places)}{'H' if wide else 'B'}", *places)
    ipma = box(b"ipma", bytes([version, 0, 0, wide]), struct.pack(">I", len(associations)), entries)
    pitm = box(b"pitm", bytes([version, 0, 0, 0]), struct.pack(number, item))
    return box(b"ftyp", b"avif") + box(b"meta", bytes(4), pitm, box(b"iprp", box(b"ipco", *properties), ipma))


def colours(data):
    return colours_of_primary_item(io.BytesIO(data), len(data))


@pytest.mark.parametrize(("version", "wide", "essential"), [(0, False, 0x80), (1, True, 0x8000), (0, True, 0)])
def test_the_primary_items_property_is_taken(version, wide, essential):
    properties = [box(b"ispe", bytes(12)), nclx(9, 16), nclx(12, 13)]
    data = heif(properties, [(7, [1, 2]), (9, [1, 3 | essential])], 9, version, wide)
    assert [c[4:8] for c in colours(data)] == [struct.pack(">HH", 12, 13)]


def test_a_profile_counts_before_nclx():
    properties = [nclx(9, 16), box(b"colr", b"prof", bytes(200))]
    assert stated_colour(io.BytesIO(heif(properties, [(1, [1, 2])])), "AVIF") is None
    assert stated_colour(io.BytesIO(heif(properties, [(1, [1])])), "AVIF").transfer == 16


def test_files_without_such_boxes():
    assert colours(b"") == colours(box(b"ftyp", b"avif")) == colours(box(b"meta", bytes(4))) == []
    assert colours(heif([nclx(1, 13)], [(2, [1])])) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (heif([nclx(1, 13)], [(1, [5])]), "property 5, there are 1"),
        (heif([nclx(1, 13)], [(2, [1])]).replace(b"\0\0\0\1\0\2\1\1", b"\xff\xff\xff\xff\0\2\1\1"), "cut off"),
        (heif([nclx(1, 13)], [(1, [1])])[:-3], "does not fit"),
        (box(b"ftyp", b"")[:4].replace(b"\x08", b"\x07") + b"ftyp", "does not fit"),
        (struct.pack(">I4sQ", 1, b"meta", 2**63), "does not fit"),
    ],
)
def test_damaged_boxes(data, words):
    with pytest.raises(ValueError, match=words):
        colours(data)


def test_boxes_are_counted():
    many = box(b"free") * (MAX_BOXES + 1)
    with pytest.raises(ValueError, match="more than 4096 boxes"):
        list(boxes(io.BytesIO(many), 0, len(many)))


def test_places_of_many_items_take_no_time_for_parts_that_say_nothing():
    """65,535 parts of no bytes in each of 65,535 items: 4 billion, in 400 kB."""
    places = struct.pack(">BBHBBH", 0, 0, 0, 0, 0, 65535) + struct.pack(">HHH", 2, 0, 65535) * 65535
    data = box(b"meta", bytes(4), box(b"pitm", struct.pack(">IH", 0, 1)), box(b"iloc", places))
    assert beginning_of_primary_item(io.BytesIO(data), len(data), 10) == b""


def test_damage_anywhere_is_an_answer_or_a_value_error():
    whole, rng = heif([box(b"ispe", bytes(12)), nclx(12, 13)], [(1, [1, 2])]), np.random.default_rng(2)
    for cut in range(len(whole)):
        for flip in (None, int(rng.integers(len(whole)))):
            data = bytearray(whole[:cut] if flip is None else whole)
            if flip is not None:
                data[flip] = int(rng.integers(256))
            try:
                colours(bytes(data))
            except ValueError:
                continue


def avif(folder, primaries, transfer, **options):
    path = folder / "x.avif"
    Image.fromarray(GREEN).save(path, quality=100, subsampling="4:4:4", **options)
    data = path.read_bytes()
    at = data.find(b"nclx") + 4
    path.write_bytes(data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :])
    return path


@pytest.fixture
def strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("points", [(1, 13), (1, 1), (2, 2), (1, 6)])
def test_srgb_avif(tmp_path, strict, points):
    assert np.abs(read_image(avif(tmp_path, *points))[4, 4] - [80.0, 160, 80]).max() <= 2


def test_p3_avif(tmp_path, strict):
    red, green, blue = read_image(avif(tmp_path, 12, 13))[4, 4].astype(int)
    assert red < 60 and abs(green - 162) <= 3 and blue < 75


def test_linear_avif(tmp_path, strict):
    assert np.abs(read_image(avif(tmp_path, 1, 8))[4, 4] - [151.0, 207, 151]).max() <= 3


@pytest.mark.parametrize(("transfer", "words"), [(16, r"nclx colour box says PQ"), (18, "HLG"), (3, "function 3")])
def test_hdr_avif_is_refused(tmp_path, transfer, words):
    with pytest.raises(UnreadableFileError, match=words):
        read_image(avif(tmp_path, 9, transfer))


def without_boxes(data, bits):
    """An AVIF without colr boxes, whose AV1 says `bits` (primaries, transfer) instead of 1 and 13."""
    end = data.find(b"mdat")
    header = data.replace(b"colr", b"free")[:end]
    known = int.from_bytes(bytes([1, 13]), "big")
    value, size = int.from_bytes(data[end:], "big"), 8 * (len(data) - end)
    at = next(i for i in range(8 * 8, 8 * 40) if value >> (size - i - 16) & 0xFFFF == known)
    value ^= (known ^ int.from_bytes(bytes(bits), "big")) << (size - at - 16)
    return header + value.to_bytes(len(data) - end, "big")


@pytest.mark.parametrize("options", [{}, {"save_all": True, "append_images": [Image.new("RGB", (24, 24))]}])
def test_av1_says_it_where_no_box_does(tmp_path, options):
    path = avif(tmp_path, 1, 13, **options)
    whole = path.read_bytes()
    for points, answer in (((1, 13), None), ((12, 13), None), ((9, 16), "its AV1 sequence header says PQ")):
        path.write_bytes(without_boxes(whole, points))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*holds several frames")
            if answer:
                with pytest.raises(UnreadableFileError, match=answer):
                    read_image(path)
            else:
                assert (read_image(path)[4, 4, 0] < 60) == (points[0] == 12)


def test_av1_cut_anywhere_is_an_answer_or_a_value_error():
    file = io.BytesIO()
    Image.fromarray(GREEN).save(file, "AVIF")
    data = file.getvalue()[file.getvalue().find(b"mdat") + 4 :]
    assert colour_of(data) == (1, 13) and colour_of(b"") is None and colour_of(b"\x00" * 9) is None
    rng = np.random.default_rng(4)
    for cut in range(40):
        for flip in range(8):
            damaged = bytearray(data[: cut or None])
            damaged[int(rng.integers(min(len(damaged), 16)))] ^= 1 << flip
            try:
                colour_of(bytes(damaged))
            except ValueError:
                continue


def test_avif_with_a_profile(tmp_path, strict):
    """Even where nclx says something else; Pillow writes both."""
    path = avif(tmp_path, 9, 16, icc_profile=icc.profile(icc.srgb_table()))
    assert np.abs(read_image(path)[4, 4] - [80.0, 160, 80]).max() <= 2


def jp2(folder, colour):
    path = folder / "x.jp2"
    Image.fromarray(GREEN).save(path)
    data = path.read_bytes()
    at = data.find(b"colr") - 4
    old, header = int.from_bytes(data[at : at + 4], "big"), data.find(b"jp2h") - 4
    size = int.from_bytes(data[header : header + 4], "big") - old + len(colour)
    data = data[:at] + colour + data[at + old :]
    path.write_bytes(data[:header] + struct.pack(">I", size) + data[header + 4 :])
    return path


def test_jpeg_2000_profile(tmp_path, strict):
    path = jp2(tmp_path, box(b"colr", b"\2\0\0", icc.profile(icc.LINEAR)))
    assert np.abs(read_image(path)[4, 4] - [151.0, 207, 151]).max() <= 2


def test_jpeg_2000_colours_by_number(tmp_path, strict):
    assert read_image(jp2(tmp_path, box(b"colr", b"\1\0\0", struct.pack(">I", 16))))[4, 4].tolist() == [80, 160, 80]
    with pytest.raises(UnreadableFileError, match="number 21 of JPEG 2000"):
        read_image(jp2(tmp_path, box(b"colr", b"\1\0\0", struct.pack(">I", 21))))


def test_jpeg_2000_colours_by_other_methods(tmp_path):
    with pytest.raises(UnreadableFileError, match="method 05 of JPEG 2000"):
        read_image(jp2(tmp_path, box(b"colr", b"\5\0\0", bytes(4))))


def test_jpeg_2000_damaged_profile(tmp_path):
    with pytest.warns(ColourWarning, match="ignored"):
        read_image(jp2(tmp_path, box(b"colr", b"\2\0\0", b"no profile")))
