# SPDX-License-Identifier: Apache-2.0
"""Arrays, tensors and PIL images that callers hand over."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from isthmus.arrays.image import to_array
from isthmus.arrays.pixels import PrecisionWarning

RNG = np.random.default_rng(3)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
def test_all_kinds_agree(height, width, channels):
    array = RNG.integers(0, 256, (height, width, channels), np.uint8)
    flat = array[..., 0] if channels == 1 else array
    for image in (array, flat, torch.from_numpy(array).permute(2, 0, 1), Image.fromarray(flat)):
        made = to_array(image)
        assert made.dtype == np.uint8 and made.flags.c_contiguous
        assert np.array_equal(made, array)


def test_strides_do_not_matter_and_contiguous_arrays_are_not_copied():
    array = RNG.integers(0, 256, (12, 10, 3), np.uint8)
    assert np.array_equal(to_array(array[::-2, 1::3, ::-1]), array[::-2, 1::3, ::-1])
    assert to_array(array) is array or np.shares_memory(to_array(array), array)


def test_pil_rules():
    clear = Image.new("RGBA", (2, 2), (1, 2, 3, 0))
    with pytest.raises(ValueError, match="--background white"):
        to_array(clear)
    assert to_array(clear, background="white").tolist() == [[[255] * 3] * 2] * 2
    with pytest.warns(PrecisionWarning):
        assert to_array(Image.fromarray(np.full((1, 1), 65535, np.uint16))).tolist() == [[[255]]]
    with pytest.raises(ValueError, match="float samples"):
        to_array(Image.new("F", (2, 2)))
    with pytest.raises(ValueError, match="no pixels"):
        to_array(Image.new("RGB", (0, 2)))
    sideways = Image.new("RGB", (4, 2))
    sideways.getexif()[0x0112] = 6
    assert to_array(sideways).shape == (4, 2, 3)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "uint8.*got float32: floats 0..1: multiply by 255"),
        (np.zeros((4, 4, 3), np.uint16), "got uint16"),
        (np.zeros((4, 4, 3), bool), "got bool"),
        (torch.zeros(3, 4, 4), r"got torch\.float32: floats 0..1"),
        ([[1, 2]], "got list"),
        (None, "got NoneType"),
    ],
)
def test_wrong_types(image, words):
    with pytest.raises(TypeError, match=words):
        to_array(image)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((3, 8, 9), np.uint8), r"got \[3, 8, 9\]; this looks like \[C,H,W\]"),
        (np.zeros((8, 9, 4), np.uint8), "RGBA"),
        (np.zeros((2, 8, 9, 3), np.uint8), "one image at a time"),
        (np.zeros(7, np.uint8), r"got \[7\]"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (torch.zeros(8, 9, 3, dtype=torch.uint8), r"this looks like \[H,W,C\]"),
        (torch.zeros(2, 3, 8, 9, dtype=torch.uint8), "one image at a time"),
        (torch.zeros(3, 0, 9, dtype=torch.uint8), "no pixels"),
    ],
)
def test_wrong_shapes(image, words):
    with pytest.raises(ValueError, match=words):
        to_array(image)


def test_integers_of_pillow_are_8_or_16_bits_by_what_they_hold(recwarn):
    eight = np.array([[0, 200], [255, 7]], np.int32)
    assert np.array_equal(to_array(Image.fromarray(eight))[..., 0], eight)
    assert not recwarn
    with pytest.warns(PrecisionWarning, match="16-bit"):
        assert to_array(Image.fromarray(eight.astype(np.uint16))).max() == 1  # mode I;16 is 16 bits, however dark
    with pytest.warns(PrecisionWarning, match="16-bit"):
        assert to_array(Image.fromarray(eight * 257))[..., 0].tolist() == eight.tolist()
    for wrong in (-1, 65536, 2**31 - 1):
        with pytest.raises(ValueError, match="expected unsigned samples of at most 16 bits"):
            to_array(Image.fromarray(np.full((2, 2), wrong, np.int32)))
    with pytest.raises(ValueError, match="no pixels"):
        to_array(Image.new("I", (0, 2)))


def test_colour_that_pillow_hands_on_is_converted():
    linear = Image.new("RGB", (2, 2), (55, 55, 55))
    linear.info["gamma"] = 1.0
    assert to_array(linear)[0, 0].tolist() == [128, 128, 128]
    linear.info["srgb"] = 0
    assert to_array(linear)[0, 0].tolist() == [55, 55, 55]
