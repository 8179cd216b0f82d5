# SPDX-License-Identifier: Apache-2.0
"""PNG and TIFF bytes in sample formats that Pillow itself does not write."""

import struct
import zlib

import numpy as np


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: np.ndarray, colour_type: int, *extra: bytes) -> bytes:
    """PNG of [H,W,C] samples, uint8 or uint16; extra: whole chunks to go before the image data."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, samples.dtype.itemsize * 8, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(samples.dtype.newbyteorder(">")).tobytes() for row in samples)
    body = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def tiff(samples: np.ndarray, photometric: int) -> bytes:
    """Uncompressed little-endian TIFF of one strip: [H,W,1] or [H,W,3] samples of any integer dtype."""
    height, width, channels = samples.shape
    data = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    bits = samples.dtype.itemsize * 8
    after = 8 + 2 + 12 * 9 + 4
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, after if channels > 2 else bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, after + 6),
        (277, 3, 1, channels),
        (279, 4, 1, len(data)),
        (339, 3, 1, 1),
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + directory + struct.pack("<I", 0)
    return head + struct.pack("<3H", bits, bits, bits) + data
