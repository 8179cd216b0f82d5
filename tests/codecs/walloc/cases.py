# SPDX-License-Identifier: Apache-2.0
"""Images for the shared tests: for golden streams, such that integer arithmetic and a file alone define them."""

from functools import cache

import numpy as np

from isthmus.codecs.registry import pretrained
from isthmus.codecs.walloc.image import ENTROPY
from isthmus.media.image import read_image
from isthmus.samples import ASTRONAUT
from tests.codecs.case import Case

QUALITIES = {"one_pixel": (50,), "ramp": (90,), "noise": (100,), "grey": (30,), "astronaut": (20, 75)}


@cache
def images() -> dict[str, np.ndarray]:
    """uint8 [H, W, 3] or [H, W, 1]."""
    y, x = np.mgrid[:21, :45]
    noise = np.arange(1, 40 * 33 * 3 + 1, dtype=np.uint64)
    for multiplier in (6364136223846793005, 1442695040888963407):  # wraps round at 2**64
        noise = noise * np.uint64(multiplier) ^ noise >> np.uint64(29)
    return {
        "one_pixel": np.array([[[200, 100, 50]]], np.uint8),
        "ramp": np.stack((y * 12, x * 5, 255 - y * 6 - x * 2), axis=2).astype(np.uint8),
        "noise": (noise >> np.uint64(56)).astype(np.uint8).reshape(40, 33, 3),
        "grey": ((y * y + x * x) % 256).astype(np.uint8)[..., None],
        "astronaut": read_image(ASTRONAUT)[60:156, 180:300],
    }


GOLDEN = [
    Case(
        f"{codec_id}-{entry.label}-{label}-q{quality}",
        entry.label,
        lambda label=label: images()[label],
        {"quality": quality, "entropy": entropy},
        golden=f"{codec_id}/{entry.label}-{label}-q{quality}",
    )
    for entry in pretrained()
    if entry.name.startswith("walloc-image-")
    for entropy, codec_id in ENTROPY.items()
    if codec_id in entry.tables
    for label, qualities in QUALITIES.items()
    for quality in qualities
]


def face(rows: int, columns: int) -> np.ndarray:
    return images()["astronaut"][:rows, :columns]


CASES = [
    Case("image-context", "walloc-image-f8c12", lambda: face(37, 53), {"quality": 70}),
    Case("image-factorized", "walloc-image-f8c12", lambda: face(37, 53), {"quality": 70, "entropy": "factorized"}),
    Case("image-f8c48", "walloc-image-f8c48", lambda: face(24, 16), {"quality": 30}),
    Case("image-grey", "walloc-image-f8c48", lambda: face(17, 40)[..., :1], {"entropy": "factorized"}),
    Case("image-one-pixel", "walloc-image-f8c12", lambda: images()["one_pixel"]),
    Case("image-one-row", "walloc-image-f8c48", lambda: face(1, 90), {"quality": 100}),
]
