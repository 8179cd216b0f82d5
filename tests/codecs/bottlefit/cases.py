# SPDX-License-Identifier: Apache-2.0
"""Images through a bottleneck of random weights, for the shared tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.codecs import registry, trained
from isthmus.codecs.registry import Pretrained
from isthmus.media.image import read_image
from isthmus.models.bottleneck import Bottleneck, BottleneckConfig, BottleneckHead
from isthmus.samples import ASTRONAUT
from tests.codecs.case import Case
from tests.codecs.walloc.cases import images

WEIGHTS = Path(__file__).parents[2] / "golden" / "bottlefit.1" / "tiny.safetensors"
SEEN = (slice(60, 156), slice(180, 300))


def random_bottleneck(channels: int = 4, seed: int = 0) -> Bottleneck:
    """Features of a random network whose symbols span a few steps at quality 1 and a hundred at 100."""
    torch.manual_seed(seed)
    trained = Bottleneck(BottleneckConfig(channels, width=8))
    picture = torch.from_numpy(read_image(ASTRONAUT)[SEEN]).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        for _ in range(50):
            trained(picture)  # statistics of batches
        spread = trained.eval()(picture).std((0, 2, 3))
        levels = torch.linspace(np.log(2), np.log(25), 8)
        trained.log_gain.copy_(levels[:, None] - spread.log())
    return trained


def random_head(channels: int = 4, seed: int = 0) -> BottleneckHead:
    """The same in integers."""
    picture = torch.from_numpy(read_image(ASTRONAUT)[SEEN]).permute(2, 0, 1)[None].float()
    return random_bottleneck(channels, seed).folded(picture)


def weights() -> str:
    """The file of a codec: that head, with what is fitted to the same part of the photograph (`weights_of`)."""
    return str(WEIGHTS)


NAME = "bottlefit-tiny"


def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the codec ship until the end of what the monkeypatch belongs to."""
    codec: Any = isthmus.load(weights())
    entry = Pretrained(NAME, "image", 1, weights(), codec.tables_hashes, codec.weights_hash, "random features")
    ships = (*registry.pretrained(), entry)
    for place in (registry, trained):
        monkeypatch.setattr(place, "pretrained", lambda: ships)
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))


CASES = [
    Case(
        f"bottlefit-{label}-{entropy}-q{quality}", NAME, lambda label=label: images()[label],
        {"quality": quality, "entropy": entropy}, least=5,
    )
    for label, quality, entropy in (
        ("one_pixel", 50, "context"), ("grey", 1, "factorized"), ("astronaut", 70, "context"),
    )
]  # fmt: skip
GOLDEN = [
    Case(
        f"{codec_id}-{label}-q{quality}", f"{NAME}.r1", lambda label=label: images()[label],
        {"quality": quality, "entropy": entropy}, golden=f"{codec_id}/{label}-q{quality}",
    )
    for codec_id, entropy, label, quality in (
        ("bottlefit.1", "factorized", "one_pixel", 50), ("bottlefit.1", "factorized", "grey", 20),
        ("bottlefit.1", "factorized", "astronaut", 1), ("bottlefit.1", "factorized", "astronaut", 60),
        ("bottlefit.1", "factorized", "astronaut", 100), ("bottlefit.2", "context", "astronaut", 20),
        ("bottlefit.2", "context", "astronaut", 90),
    )
]  # fmt: skip
