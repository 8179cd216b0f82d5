# SPDX-License-Identifier: Apache-2.0
"""The torch transform: pywt's filters, invertible, equal to the CPU kernels and to its matrix form."""

import numpy as np
import pytest
import pywt
import torch

from isthmus.kernels.wavelet import image as image_transform
from isthmus.kernels.wavelet import packets
from isthmus.models.wavelet_packet import (
    analyze_by_matrix,
    analyze_packet,
    packet_matrix,
    synthesize_by_matrix,
    synthesize_packet,
)


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def pywt_packet(x: np.ndarray, levels: int) -> np.ndarray:
    """Full packet analysis of [C, T] or [C, H, W] by pywt, bands in the order of the package."""
    for _ in range(levels):
        if x.ndim == 2:
            bands = pywt.dwt(x, "bior4.4", mode="periodization", axis=-1)
        else:
            low, details = pywt.dwt2(x, "bior4.4", mode="periodization", axes=(-2, -1))
            bands = (low, *details)
        x = np.stack(bands, axis=1).reshape(-1, *bands[0].shape[1:])
    return x


@pytest.mark.parametrize("shape", [(1, 2), (3, 16), (2, 48), (1, 8, 8), (3, 16, 40), (2, 64, 32)])
@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_periodization_equals_pywt(shape: tuple[int, ...], levels: int) -> None:
    if any(n % (1 << levels) for n in shape[1:]):
        with pytest.raises(ValueError, match=f"multiples of {1 << levels}"):
            analyze_packet(noise(1, *shape), levels)
        return
    x = noise(1, *shape, dtype=torch.float64)
    found = analyze_packet(x, levels, "periodization")
    np.testing.assert_allclose(found[0].numpy(), pywt_packet(x[0].numpy(), levels), atol=1e-10)
    torch.testing.assert_close(synthesize_packet(found, levels, "periodization"), x, atol=1e-10, rtol=0)


@pytest.mark.parametrize("shape", [(1, 8), (2, 104), (1, 8, 8), (3, 16, 40), (5, 56, 24)])
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("mode", ["symmetric", "periodization"])
def test_equals_the_kernels(shape: tuple[int, ...], levels: int, mode: str) -> None:
    x = noise(2, *shape)
    bands = analyze_packet(x, levels, mode)  # type: ignore[arg-type]
    for one, expected in zip(x, bands, strict=True):
        found = packets.analyze_packet(one.numpy(), levels, mode)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-4 * float(expected.abs().max()), rtol=0)
        back = packets.synthesize_packet(found, levels, mode)  # type: ignore[arg-type]
        np.testing.assert_allclose(back, one.numpy(), atol=1e-4, rtol=0)
    torch.testing.assert_close(synthesize_packet(bands, levels, mode), x, atol=1e-4, rtol=0)  # type: ignore[arg-type]


def test_equals_the_image_kernels(astronaut: np.ndarray) -> None:
    image = np.ascontiguousarray(astronaut[:64, :104].transpose(2, 0, 1))
    expected = analyze_packet(torch.from_numpy(image)[None].float() / 127.5 - 1, 3)[0].numpy()
    np.testing.assert_allclose(image_transform.analyze_bands(image, 3), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("size", "levels"), [(8, 3), (16, 1), (48, 2), (64, 3)])
def test_matrix_path_equals_lifting(size: int, levels: int) -> None:
    x = noise(2, 3, size, size)
    matrix = packet_matrix(size, levels)
    bands = analyze_packet(x, levels)
    torch.testing.assert_close(analyze_by_matrix(x, matrix, levels), bands, atol=1e-4, rtol=0)
    inverse = torch.linalg.inv(matrix.double()).float()
    torch.testing.assert_close(synthesize_by_matrix(bands, inverse, levels), x, atol=1e-4, rtol=0)


def test_gains() -> None:
    """A constant keeps its DC gain of 2 a level in two dimensions, in band 0 alone, up to the image's border."""
    bands = analyze_packet(torch.ones(1, 1, 16, 24, dtype=torch.float64), 3)
    torch.testing.assert_close(bands[:, :1], torch.full((1, 1, 2, 3), 8.0, dtype=torch.float64))
    assert bands[:, 1:].abs().max() < 1e-12


def test_gradients() -> None:
    x = noise(1, 1, 8, 16, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: analyze_packet(t, 2), x)
    y = noise(1, 16, 2, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: synthesize_packet(t, 2), y)


@pytest.mark.parametrize("shape", [(8,), (8, 8), (1, 1, 8, 8, 8), (1, 1, 8, 7), (1, 1, 4, 8), (1, 1, 12)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pad first"):
        analyze_packet(torch.zeros(shape), 3)
