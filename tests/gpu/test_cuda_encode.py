# SPDX-License-Identifier: Apache-2.0
"""Images encoded on a GPU: the CPU's integers, and the CPU's bytes of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

import isthmus
from isthmus.datasets import transcode
from isthmus.entropy.models import device as on_gpu
from isthmus.kernels.cuda.wavelet import image as cuda_image
from isthmus.kernels.wavelet import image as cpu_image
from isthmus.kernels.wavelet import torch_image
from tests.datasets.photos import CODEC, make_photos, photo

pytestmark = pytest.mark.gpu
NAMES = ("walloc-image-f8c12", "walloc-image-f8c48")
SHAPES = [(1, 1, 1, 3), (3, 1, 9, 3), (3, 9, 17, 3), (3, 3, 100, 3), (2, 33, 64, 2), (1, 70, 40, 4), (3, 384, 512, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("outputs", [1, 12, 48, 61])
def test_the_analysis_is_the_cpu_s_bit_for_bit(
    device: torch.device, shape: tuple[int, int, int, int], outputs: int
) -> None:
    *size, levels = shape
    chance = np.random.default_rng(outputs)
    images = chance.integers(0, 256, (3, *size)).astype(np.uint8)
    weight = chance.normal(size=(outputs, size[0] << 2 * levels)).astype(np.float32)
    bias, gain = chance.normal(size=(2, outputs)).astype(np.float32) * np.float32([[1], [3000]])
    arguments = weight, bias, gain, 0.45, levels
    expected = np.stack([cpu_image.analyze_quantized(image, *arguments) for image in images])
    there = torch.from_numpy(images).to(device)
    with torch.autocast("cuda", torch.bfloat16):
        for analyze in (cuda_image.analyze_quantized, torch_image.analyze_quantized):
            np.testing.assert_array_equal(analyze(there, *arguments).cpu().numpy(), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("entropy", ["factorized", "context"])
def test_encoded_there_are_the_bytes_of_here(
    device: torch.device, astronaut: np.ndarray, name: str, entropy: str
) -> None:
    """No integer of a photograph differs, so no byte does; contexts are packed by the CPU."""
    here, there = isthmus.load(name), isthmus.load(name, device=str(device))
    for height, width in ((512, 384), (120, 201), (7, 9)):
        images = [astronaut[:height, x : x + width] for x in range(0, 100, 25)]
        for quality in (1, 50, 100):
            batch = there.analyze(images, quality=quality, entropy=entropy)
            assert batch.planes["y"].device == device and batch.planes["y"].dtype == torch.int16
            single = [here.analyze(image, quality=quality, entropy=entropy) for image in images]
            differing = sum(
                int((a.planes["y"].cpu() != b.planes["y"]).sum()) for a, b in zip(batch.latents, single, strict=True)
            )
            assert differing == 0
            data = there.encode(images, quality=quality, entropy=entropy)
            assert data == here.pack_batch(single) == there.pack_batch(batch.latents)
            assert there.pack_batch(there.unpack_batch(data).latents) == data


def test_precision_settings_change_nothing(device: torch.device, astronaut: np.ndarray) -> None:
    codec, before = isthmus.load(CODEC, device=str(device)), torch.get_float32_matmul_precision()
    expected = codec.encode([astronaut] * 2, entropy="factorized")
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cuda", torch.float16), torch.inference_mode(), torch.device(device):
            assert codec.encode([astronaut] * 2, entropy="factorized") == expected
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("seed", range(4))
def test_any_integers_are_packed_to_the_cpu_s_bytes(device: torch.device, seed: int) -> None:
    """Every scale, far offsets, escapes, the ends of 16 bits, payloads of every number of lanes, mixed qualities."""
    chance = np.random.default_rng(seed)
    for name in NAMES:
        model = isthmus.load(name).weights.entropy
        channels = model.expected.shape[1]
        for area in ((1, 1), (3, 5), (40, 30), (90, 100)):
            y = chance.laplace(size=(5, channels, *area)) * chance.choice([0.01, 1, 30, 1000], (5, channels, 1, 1))
            y = y + chance.choice([0, 0, 1, -700, 20_000], (5, channels, 1, 1))
            y[chance.random(y.shape) < 0.001] = chance.choice([-(1 << 15), (1 << 15) - 1])
            planes = np.clip(np.rint(y), -(1 << 15), (1 << 15) - 1).astype(np.int16)
            rows = chance.integers(1, 101, 5).tolist()
            made = on_gpu.encode_batch(model, torch.from_numpy(planes).to(device), rows)
            assert made == model.encode_batch(planes, rows)


def test_a_data_set_made_there_is_the_same_bytes(device: torch.device, tmp_path: Path) -> None:
    source = make_photos(tmp_path / "photos")
    photo(99, 48, 40).save(source / "cat" / "other.png")
    photo(98).convert("L").save(source / "cat" / "grey.png")
    for entropy in ("factorized", "context"):
        for where in ("cpu", str(device)):
            transcode(
                source, tmp_path / entropy / where.replace(":", ""), codec=CODEC, workers=0, progress=False,
                shard_size=10, views=("hflip",), device=where, entropy=entropy,
            )  # fmt: skip
        a, b = (
            {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            for folder in sorted((tmp_path / entropy).iterdir())
        )
        assert a == b
