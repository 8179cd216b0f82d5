# SPDX-License-Identifier: Apache-2.0
"""Bottlenecks: what is sent, what it means, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import isthmus
from isthmus.codecs.base import Latent
from isthmus.errors import CorruptStreamError, WeightsMismatchError
from isthmus.models.bottleneck import FACTOR, Bottleneck, BottleneckConfig
from tests.codecs.bottlefit.cases import random_head, weights
from tests.codecs.walloc.cases import images


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 17), (64, 40)])
def test_a_grid_of_every_size(size: tuple[int, int]) -> None:
    codec = isthmus.load(weights())
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    latent = codec.analyze(image, quality=90)
    assert latent.planes["y"].shape == (4, -(-size[0] // FACTOR), -(-size[1] // FACTOR))
    again = codec.unpack(codec.pack(latent))
    assert torch.equal(again.planes["y"], latent.planes["y"])
    assert codec.decode(codec.pack(latent)).shape == image.shape


def test_features_come_back_to_half_a_step() -> None:
    codec = isthmus.load(weights())
    image = torch.from_numpy(images()["astronaut"].transpose(2, 0, 1).copy())
    latent = codec.analyze(image, quality=80)
    y = latent.dequantize()["y"]
    with torch.no_grad():
        features = codec.model(image[None])[0]
    inside = (latent.planes["y"] > -128) & (latent.planes["y"] < 127)
    error = ((y - features).abs() * codec.model.gain[79][:, None, None])[inside]
    assert error.max() <= 0.5 + 1e-3
    small, large = (len(codec.encode(image, quality=q)) for q in (1, 100))
    assert small < large


def test_a_folded_head_is_nearly_the_trained_one() -> None:
    torch.manual_seed(1)
    trained = Bottleneck(BottleneckConfig(5))
    picture = torch.from_numpy(images()["astronaut"].transpose(2, 0, 1).copy())[None].float()
    for _ in range(30):
        trained(picture)
    with torch.no_grad():
        for norm in (trained.encoder[1], trained.encoder[4]):
            norm.weight.uniform_(-1, 1)  # maxima do not commute with falling factors
            norm.bias.uniform_(-1, 1)
        trained.encoder[4].weight[:2] = 0  # an activation that is always the same
        trained.encoder[1].weight[2] = 0  # and one of weights that are nothing
        for _ in range(30):
            trained(picture)
        wanted = trained.eval()(picture)
        error = trained.folded(picture)(picture) - wanted
        assert (error.square().mean() / wanted.square().mean()) < 1e-3
    assert sum(p.numel() for p in Bottleneck(BottleneckConfig(12)).encoder.parameters()) * 4 <= 51_000


def test_sums_are_those_of_integers() -> None:
    """Whatever adds them up, in whatever order."""
    head, image = random_head(), torch.randint(0, 256, (1, 3, 24, 16), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(head.sums(image), head.double().sums(image.double()).float())


@pytest.mark.parametrize(("name", "value", "message"), [
    ("wide.weight", 0.5, "wide.weight: expected integers"), ("sign", 2.0, "sign: expected 1 or -1"),
    ("gain", 0.0, "gain: expected numbers above 0"), ("narrow.bias", float(1 << 24), "sums up to"),
])  # fmt: skip
def test_heads_that_are_not_exact(name: str, value: float, message: str) -> None:
    head = random_head()
    with torch.no_grad():
        head.get_parameter(name).fill_(value)
    with pytest.raises(ValueError, match=message):
        head.check()


def test_batches_are_their_images() -> None:
    codec = isthmus.load(weights())
    pictures = [torch.randint(0, 256, (3, 24, 40), dtype=torch.uint8) for _ in range(3)]
    batch = codec.analyze(torch.stack(pictures), quality=60)
    assert all(a == codec.analyze(b, quality=60) for a, b in zip(batch.latents, pictures, strict=True))
    streams = codec.pack_batch(batch.latents)
    found = codec.unpack_batch([*streams, streams[0][:-1]], errors="return")
    assert len(found) == 3 and list(found.errors) == [3]
    assert torch.equal(found.planes["y"], batch.planes["y"])


def test_what_no_head_sends() -> None:
    codec = isthmus.load(weights())
    latent = codec.analyze(images()["astronaut"], quality=60)
    wild = Latent({"y": torch.full_like(latent.planes["y"], 300)}, latent.spec, codec)
    with pytest.raises(ValueError, match="integers 300 to 300, bottlefit.1 holds -128 to 127"):
        codec.pack(wild)
    plan = codec.plan(latent.spec.header)
    payload = plan.coder.encode(wild.planes["y"].numpy(), plan.quality)
    forged = isthmus.bitstream.pack_single(latent.spec.header, payload)
    with pytest.raises(CorruptStreamError, match="integers 300 to 300"):
        codec.unpack(forged)
    found = codec.unpack_batch([codec.pack(latent), forged], errors="return")
    assert list(found.errors) == [1] and len(found) == 1
    with pytest.raises(WeightsMismatchError, match="bottlefit.2 with entropy tables"):
        isthmus.load("walloc-image-f8c12").unpack(codec.pack(latent))


def test_files_that_are_no_bottlenecks(tmp_path: Path) -> None:
    tensors = load_file(weights())
    from safetensors import safe_open

    with safe_open(weights(), "pt") as file:
        metadata = file.metadata()
    for name, change, message in (
        ("expected", {"tables.expected": tensors["tables.expected"][:, :2].clone()}, "tables for 2 channels"),
        ("nan", {"model.step": tensors["model.step"] * float("nan")}, "finite float32"),
        ("shape", {"model.shift": torch.zeros(3, 1, 1)}, "do not fit the configuration"),
    ):
        path = tmp_path / f"{name}.safetensors"
        save_file({**tensors, **change}, path, metadata)
        with pytest.raises(CorruptStreamError, match=message):
            isthmus.load(str(path)).analyze(images()["astronaut"])
    path = tmp_path / "huge.safetensors"
    save_file(tensors, path, {"isthmus": metadata["isthmus"].replace('"width": 8', '"width": 100000')})
    with pytest.raises(CorruptStreamError, match="width = 100000, expected 1 to 1024"):
        isthmus.load(str(path))


def test_another_head_is_another_codec() -> None:
    one, other = random_head(), random_head(seed=5)
    assert not torch.equal(one.wide.weight, other.wide.weight)
    codec = isthmus.load(weights())
    header = codec.analyze(images()["astronaut"]).spec.header
    with pytest.raises(WeightsMismatchError):
        codec.check_weights(replace(header, weights_hash="00000001"))
    assert np.asarray(codec.decode(codec.encode(images()["grey"]), output="numpy")).shape == images()["grey"].shape
