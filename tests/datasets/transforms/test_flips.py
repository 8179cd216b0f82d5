# SPDX-License-Identifier: Apache-2.0
"""Flips of latents against latents of flips: measured on the photograph that ships, printed with `pytest -s`."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import isthmus
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.datasets.transforms import RandomHorizontalFlip, RandomVerticalFlip
from isthmus.datasets.transforms.analysis import Analysis, analysis_of, axis_bands
from isthmus.datasets.transforms.flips import flip
from isthmus.datasets.transforms.mirror import BORDER, mirror
from isthmus.kernels.wavelet.reference import analyze_packet

# What is missed of the photograph: measured with margin. Mirrored cells alone miss more than 0.1.
MOST = {"walloc-image-f8c12": 0.012, "walloc-image-f8c48": 0.008}


def latents_of(codec: WallocImageCodec, image: np.ndarray, quality: int = 50) -> Tensor:
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    return torch.from_numpy(codec.weights.linear.analyze_image(planes, quality))


def missed(got: Tensor, true: Tensor, mean: Tensor) -> float:
    """Squared error over the variance about means [c]."""
    return float((got - true).square().sum() / (true - mean[:, None, None]).square().sum())


def test_the_analysis_is_that_of_the_codec(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    """By axis matrices, against the reference transform and the codec's weights; at sizes of no whole cells too."""
    image = astronaut[100:173, 200:290]
    found = analysis_of(shipped)
    planes = np.pad(image, ((0, 7), (0, 6), (0, 0)), mode="reflect").transpose(2, 0, 1)
    bands = analyze_packet(np.ascontiguousarray(planes, np.float32) - 127.5, 3, gain=1 / 127.5)
    linear = shipped.weights.linear
    expected = np.einsum("cn,nhw->chw", linear.analysis_weight, bands) + linear.analysis_bias[:, None, None]
    y, x = axis_bands(73, 8), axis_bands(90, 8)
    samples = (torch.from_numpy(image.transpose(2, 0, 1).copy()).double() - 127.5) / 127.5
    got = torch.einsum("ckpq,pwx,qhy,kyx->chw", found.weight, x, y, samples) + found.bias[:, None, None]
    assert np.abs(got.numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("width", [512, 504, 500, 505])
@pytest.mark.parametrize("quality", [50, 80])
def test_a_flip_of_latents_is_near_the_latents_of_a_flip(
    shipped: WallocImageCodec, astronaut: np.ndarray, quality: int, width: int, vertical: bool
) -> None:
    image = astronaut[:, :width]
    image = image.transpose(1, 0, 2) if vertical else image
    turned = image[::-1] if vertical else image[:, ::-1]
    analysis, step = analysis_of(shipped), torch.from_numpy(shipped.weights.linear.step(quality))[:, None, None]
    q, true = latents_of(shipped, image, quality), latents_of(shipped, turned, quality)
    integers = flip(q, analysis, vertical=vertical, quality=quality, pixels=width)
    floats = flip(q * step, analysis, vertical=vertical, pixels=width)
    assert integers.dtype == torch.int16 and floats.dtype == torch.float32
    mean = (true * step).mean((1, 2))
    part = slice(BORDER, -BORDER)
    inside = (slice(None), part) if vertical else (slice(None), slice(None), part)
    found = {
        "floats": missed(floats, true * step, mean),
        "floats inside": missed(floats[inside], (true * step)[inside], mean),
        "integers": missed(integers * step, true * step, mean),
    }
    mirrored = missed((q * step).flip(-2 if vertical else -1), true * step, mean)
    differ = float((integers != true).double().mean())
    shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    print(f"{shipped.name} q{quality} {width}{' vertical' if vertical else ''}: {shown}, mirrored {mirrored:.3f}; "
          f"{differ:.0%} of integers differ")  # fmt: skip
    assert max(found.values()) < MOST[shipped.name]
    assert found["floats"] < mirrored / 8


def test_borders_are_as_good_as_the_middle(shipped: WallocImageCodec) -> None:
    """For the model of photographs, at all remainders of 8 pixels and for images of a few cells."""
    analysis = analysis_of(shipped)
    for pixels in [*range(217, 225), 8, 9, 16, 31]:
        found = mirror(analysis, pixels)
        shares = (found.errors * found.variances).sum(1) / found.variances.sum(1)
        assert len(shares) == -(-pixels // 8)
        assert float(shares.max()) < 0.02
        assert float(found.errors.min()) > -1e-6 and float(found.errors.max()) < 1 + 1e-6


def test_what_is_known_of_cells_does_not_depend_on_the_width(shipped: WallocImageCodec) -> None:
    """A short line solved whole has, amid it, what a long one has everywhere."""
    analysis = analysis_of(shipped)
    whole, long = mirror(analysis, 13 * 8), mirror(analysis, 40 * 8)
    assert torch.equal(long.matrices[BORDER], long.matrices[-BORDER - 1])
    assert torch.equal(long.matrices[:BORDER], whole.matrices[:BORDER])
    y = torch.randn(analysis.channels, 3, 40, generator=torch.Generator().manual_seed(0))
    shifted = flip(y, analysis)[..., 10:20], flip(y.roll(5, -1), analysis)[..., 5:15]
    torch.testing.assert_close(*shifted)


def test_a_line_of_one_cell_and_a_pixel_flips_exactly_where_nothing_changes(shipped: WallocImageCodec) -> None:
    """One pixel wide images are their own mirror image."""
    analysis = analysis_of(shipped)
    y = latents_of(shipped, np.full((16, 1, 3), 200, np.uint8), 80)
    assert torch.equal(flip(y, analysis, quality=80, pixels=1), y)


def test_transforms_take_items_and_batches(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    y = latents_of(shipped, astronaut[:64, :96])
    batch = y.repeat(16, 1, 1, 1)
    for kind in (RandomHorizontalFlip, RandomVerticalFlip):
        always, never = kind(shipped, quality=50, p=1), kind(shipped.name, quality=50, p=0)
        vertical = kind is RandomVerticalFlip
        expected = flip(y, analysis_of(shipped), vertical=vertical, quality=50)
        assert torch.equal(always(y), expected)
        assert torch.equal(always(batch), expected.repeat(16, 1, 1, 1))
        assert never(batch) is batch
        torch.manual_seed(0)
        some = kind(shipped, quality=50)(batch)
        flipped = [torch.equal(one, expected) for one in some]
        assert 0 < sum(flipped) < 16
        assert all(torch.equal(one, y) for one, was in zip(some, flipped, strict=True) if not was)
        again = pickle.loads(pickle.dumps(always))
        assert torch.equal(again(y), expected)
        assert always.error == pytest.approx(again.error)
        assert 0 < always.error < 0.01 and len(always.channel_errors) == len(y)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_stay(shipped: WallocImageCodec, dtype: torch.dtype) -> None:
    y = torch.full((analysis_of(shipped).channels, 4, 4), 100).to(dtype)
    out = flip(y, analysis_of(shipped), quality=None if dtype.is_floating_point else 50)
    assert out.dtype == dtype and out.shape == y.shape


def test_settings_of_torch_change_nothing(shipped: WallocImageCodec) -> None:
    analysis = analysis_of(shipped)
    y = torch.randn(analysis.channels, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = flip(y, analysis)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        assert torch.equal(flip(y, analysis), expected)
    leaf = y.clone().requires_grad_()
    flip(leaf, analysis).sum().backward()
    assert leaf.grad is not None and float(leaf.grad.abs().sum()) > 0


def test_a_codec_whose_flips_are_poor_is_refused(shipped: WallocImageCodec) -> None:
    """One that keeps three fine bands and nothing around them."""
    analysis = analysis_of(shipped)
    weight = torch.zeros(3, 3, 8, 8, dtype=torch.float64)
    weight[0, :, 5, 0] = weight[1, :, 3, 3] = weight[2, :, 7, 2] = 1
    poor = Analysis("poor", weight, analysis.bias[:3], analysis.steps[:, :3])
    with pytest.raises(ValueError, match="isthmus transcode --views hflip"):
        flip(torch.zeros(3, 4, 4), poor)


def test_wrong_arguments_are_refused(shipped: WallocImageCodec) -> None:
    analysis = analysis_of(shipped)
    y = torch.zeros(analysis.channels, 4, 6, dtype=torch.int16)
    with pytest.raises(ValueError, match="need the quality"):
        flip(y, analysis)
    with pytest.raises(ValueError, match="quality 0"):
        flip(y, analysis, quality=0)
    with pytest.raises(ValueError, match="do not make the 6 cells"):
        flip(y, analysis, quality=50, pixels=49 + 8)
    with pytest.raises(ValueError, match="channels"):
        flip(y[:3], analysis, quality=50)
    with pytest.raises(ValueError, match="not empty"):
        flip(y[:, :0], analysis, quality=50)
    with pytest.raises(TypeError, match="uint8"):
        flip(y.to(torch.uint8), analysis, quality=50)
    with pytest.raises(TypeError, match="ndarray"):
        flip(y.numpy(), analysis, quality=50)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="need the quality"):
        RandomHorizontalFlip(shipped, p=0)(y)
    with pytest.raises(ValueError, match="0 to 1"):
        RandomHorizontalFlip(shipped, p=2)
    with pytest.raises(ValueError, match="quality 101"):
        RandomHorizontalFlip(shipped, quality=101)
    with pytest.raises(ValueError, match="linear analyses of images"):
        RandomHorizontalFlip("walloc-audio-f256c27")


def test_latents_of_codec_and_dequantize_agree(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    """Floats in are those of `Latent.dequantize`; a latent of flipped integers still packs."""
    latent = shipped.analyze(astronaut[:64, :96], quality=60)
    analysis = analysis_of(shipped)
    integers = flip(latent.planes["y"], analysis, quality=60)
    turned = isthmus.Latent({"y": integers}, replace(latent.spec, choices=None), shipped)
    assert torch.equal(shipped.unpack(shipped.pack(turned)).planes["y"], integers)
    floats = flip(latent.dequantize()["y"], analysis)
    nearest = turned.dequantize()["y"]
    step = analysis.step(60).float()[:, None, None]
    assert float(((floats - nearest).abs() / step).max()) < 0.56  # rounded with a dead zone
