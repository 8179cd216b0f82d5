# SPDX-License-Identifier: Apache-2.0
"""Many images in torch: the integers of the CPU's kernel, whatever torch is set to."""

import numpy as np
import pytest
import torch

from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.kernels.wavelet import torch_image
from isthmus.kernels.wavelet.image import analyze_quantized

SHAPES = [(1, 1, 1, 3), (3, 1, 9, 3), (3, 8, 8, 3), (3, 9, 17, 3), (3, 3, 100, 3), (2, 33, 64, 2), (1, 70, 40, 4)]


@pytest.mark.parametrize("shape", [*SHAPES, (3, 120, 201, 3), (2, 5, 7, 1)])
def test_it_is_the_kernel_bit_for_bit(shape: tuple[int, int, int, int]) -> None:
    """Gains so large that an error of one bit in a value of 1000 would be seen."""
    *size, levels = shape
    chance = np.random.default_rng(sum(shape))
    images = chance.integers(0, 256, (3, *size)).astype(np.uint8)
    for outputs in (1, 13):
        weight = chance.normal(size=(outputs, size[0] << 2 * levels)).astype(np.float32)
        bias, gain = chance.normal(size=(2, outputs)).astype(np.float32) * np.float32([[1], [3000]])
        found = torch_image.analyze_quantized(torch.from_numpy(images), weight, bias, gain, 0.45, levels)
        expected = np.stack([analyze_quantized(image, weight, bias, gain, 0.45, levels) for image in images])
        np.testing.assert_array_equal(found.numpy(), expected)
        assert found.dtype == torch.int16


@pytest.mark.parametrize("quality", [1, 50, 100])
def test_no_integer_differs_with_shipped_weights(
    shipped: WallocImageCodec, astronaut: np.ndarray, quality: int
) -> None:
    linear, planes = shipped.weights.linear, np.ascontiguousarray(astronaut[:260, :300].transpose(2, 0, 1))
    batch = torch.from_numpy(np.stack([planes, planes[:, ::-1]]))
    with torch.autocast("cpu", torch.bfloat16):
        found = linear.analyze_images(batch, quality)
    expected = np.stack([linear.analyze_image(image.numpy(), quality) for image in batch])
    assert int((found.numpy() != expected).sum()) == 0


def test_parts_of_a_batch(monkeypatch: pytest.MonkeyPatch, shipped: WallocImageCodec) -> None:
    linear = shipped.weights.linear
    images = torch.randint(0, 256, (5, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = linear.analyze_images(images, 60)
    monkeypatch.setattr("isthmus.models.walloc.linear.SAMPLES_AT_ONCE", 2 * images[0].numel())
    assert torch.equal(linear.analyze_images(images, 60), whole)


def test_wrong_arguments() -> None:
    weight, vector = np.zeros((2, 192), np.float32), np.zeros(2, np.float32)
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    for bad in (images.float(), images[0], images[..., :0]):
        with pytest.raises(ValueError, match=r"expected uint8 \[N, C, H, W\]"):
            torch_image.analyze_quantized(bad, weight, vector, vector, 0.45, 3)
    with pytest.raises(ValueError, match=r"expected \[c, 192\]"):
        torch_image.analyze_quantized(images, weight[:, :3], vector, vector, 0.45, 3)
    with pytest.raises(ValueError, match="offset"):
        torch_image.analyze_quantized(images, weight, vector, vector, 0.6, 3)
