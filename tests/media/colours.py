# SPDX-License-Identifier: Apache-2.0
"""Samples, PNG chunks that say what they are, and what they should become, for the tests of colour."""

import struct
import zlib

import numpy as np

from isthmus.media.image import read_image
from tests.media.png_bytes import chunk, png

GREYS = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
MUTED = np.random.default_rng(5).integers(90, 170, (16, 16, 3), np.uint8)  # in sRGB, whatever primaries they are of
SRGB_CHROMA = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_CHROMA = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
P3_TO_SRGB = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
DARK = np.arange(0, 3000, 11, dtype=np.uint16)  # 273 samples within 12 levels of 8 bits


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
