# SPDX-License-Identifier: Apache-2.0
"""Images and sound for the shared tests: golden streams of what integer arithmetic and a file alone define."""

from functools import cache

import numpy as np

from isthmus.codecs.registry import pretrained
from isthmus.media import audio
from isthmus.media.image import read_image
from isthmus.samples import ASTRONAUT, SPEECH
from tests.codecs.case import Case

ENTROPY = {"factorized": "walloc.1", "context": "walloc.2"}
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

SOUNDS = {"speech": (22_050, 30), "noise": (44_100, 80), "one_sample": (8_000, 50)}  # sample rate, quality
GOLDEN += [
    Case(
        f"walloc.3-{entry.label}-{label}",
        entry.label,
        lambda label=label: sounds()[label],
        {"quality": quality, "sample_rate": rate},
        golden=f"walloc.3/{entry.label}-{label}",
    )
    for entry in pretrained()
    if entry.name.startswith("walloc-audio-")
    for label, (rate, quality) in SOUNDS.items()
]


@cache
def sounds() -> dict[str, np.ndarray]:
    """float32 [C, T]: mono speech, stereo noise that swells, a sample."""
    words = images()["noise"].reshape(2, -1).astype(np.float32) / 256 - np.float32(0.5)
    swell = np.arange(16 * words.shape[1], dtype=np.float32) / (16 * words.shape[1])
    return {
        "speech": audio.read(SPEECH, {})[0][:, 9_000:22_000],
        "noise": np.repeat(words, 16, 1) * swell,  # steps of 16 samples: more low frequencies than high ones
        "one_sample": np.full((1, 1), 0.25, np.float32),
    }


def face(rows: int, columns: int) -> np.ndarray:
    return images()["astronaut"][:rows, :columns]


CASES = [
    Case("image-context", "walloc-image-f8c12", lambda: face(37, 53), {"quality": 70}),
    Case("image-factorized", "walloc-image-f8c12", lambda: face(37, 53), {"quality": 70, "entropy": "factorized"}),
    Case("image-f8c48", "walloc-image-f8c48", lambda: face(24, 16), {"quality": 30}),
    Case("image-grey", "walloc-image-f8c48", lambda: face(17, 40)[..., :1], {"entropy": "factorized"}),
    Case("image-one-pixel", "walloc-image-f8c12", lambda: images()["one_pixel"]),
    Case("image-one-row", "walloc-image-f8c48", lambda: face(1, 90), {"quality": 100}),
    Case("sound-mono", "walloc-audio-f256c27", lambda: sounds()["speech"][:, :3000], {"sample_rate": 22_050}),
    Case("sound-stereo", "walloc-audio-f256c108", lambda: sounds()["noise"][:, -4000:], {"sample_rate": 44_100}),
    Case(
        "sound-plain",
        "walloc-audio-f256c27",
        lambda: sounds()["noise"][:, :300],
        {"sample_rate": 48_000, "noise": False},
    ),
    Case("sound-one-sample", "walloc-audio-f256c108", lambda: sounds()["one_sample"], {"sample_rate": 8_000}, least=10),
    Case("sound-empty", "walloc-audio-f256c27", lambda: sounds()["noise"][:, :0], {"sample_rate": 8_000}),
]
