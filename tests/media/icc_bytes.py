# SPDX-License-Identifier: Apache-2.0
"""Small ICC profiles of curves and a matrix, version 2, with any description."""

import struct

import numpy as np

from isthmus.arrays.colour.space import D65, xyz_of

D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
LINEAR = b"curv\0\0\0\0" + bytes(4)


def numbers(values) -> bytes:
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def table(values) -> bytes:
    points = [round(v * 65535) for v in values]
    return b"curv\0\0\0\0" + struct.pack(f">I{len(points)}H", len(points), *points)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def parametric(kind: int, *values: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + numbers(values)


def srgb_table() -> bytes:
    x = np.linspace(0, 1, 1024)
    return table(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4))


def profile(curve: bytes, primaries: str | None = "srgb", name: str = "made", **more: bytes) -> bytes:
    """An RGB profile, or a grey one without primaries; more: further tags."""
    text = name.encode() + b"\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + numbers(D50),
    }
    if primaries:
        columns = xyz_of(PRIMARIES[primaries], D65)
        for c, letter in enumerate("rgb"):
            tags[f"{letter}XYZ".encode()] = b"XYZ \0\0\0\0" + numbers(columns[:, c])
            tags[f"{letter}TRC".encode()] = curve
    else:
        tags[b"kTRC"] = curve
    tags |= {name.encode(): value for name, value in more.items()}
    directory, body = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        directory += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    kind = b"RGB " if primaries else b"GRAY"
    head = struct.pack(">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"lcms", 0x02400000, b"mntr", kind, b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + numbers(D50)
    return head.ljust(128, b"\0") + directory + body
