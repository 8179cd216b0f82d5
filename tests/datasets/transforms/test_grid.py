# SPDX-License-Identifier: Apache-2.0
"""Crops, sizes and mixtures on the grid, against the latents of images treated so."""

import numpy as np
import pytest
import torch

from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.datasets.transforms import CenterCrop, CutMix, MixUp, RandomCrop, Resize
from tests.datasets.transforms.test_flips import latents_of, missed

LEFT, RIGHT = (
    4,
    3,
)  # cells beside a new border that the analysis reaches across: `kernels.wavelet.packets.ANALYSIS_HALO`


@pytest.mark.parametrize("quality", [50, 80])
def test_crops_are_exact_but_for_cells_beside_new_borders(
    shipped: WallocImageCodec, astronaut: np.ndarray, quality: int
) -> None:
    whole = latents_of(shipped, astronaut, quality)
    top, left, height, width = 12, 20, 28, 24
    part = np.ascontiguousarray(astronaut[top * 8 : (top + height) * 8, left * 8 : (left + width) * 8])
    true, got = latents_of(shipped, part, quality), whole[:, top : top + height, left : left + width]
    differ = (true != got).any(0)
    assert not differ[LEFT:-RIGHT, LEFT:-RIGHT].any()
    columns, rows = (differ[LEFT:-RIGHT].any(0).nonzero(), differ[:, LEFT:-RIGHT].any(1).nonzero())
    step = torch.from_numpy(shipped.weights.linear.step(quality))[:, None, None]
    ring = torch.ones_like(differ)
    ring[LEFT:-RIGHT, LEFT:-RIGHT] = False
    error = missed((got * step)[:, ring][..., None], (true * step)[:, ring][..., None], (true * step).mean((1, 2)))
    print(f"{shipped.name} q{quality}: columns {columns[:, 0].tolist()} and rows {rows[:, 0].tolist()} of "
          f"{height}x{width} differ; {error:.4f} of the variance of the ring")  # fmt: skip
    for found, cells in ((columns, width), (rows, height)):
        assert {0, cells - 1} <= set(found[:, 0].tolist())
    assert error < 0.05


def test_a_crop_at_the_image_s_own_corner_keeps_its_borders(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    whole = latents_of(shipped, astronaut)
    true = latents_of(shipped, np.ascontiguousarray(astronaut[:128, :128]))
    assert torch.equal(true[:, :-RIGHT, :-RIGHT], whole[:, : 16 - RIGHT, : 16 - RIGHT])


def test_crops_take_items_batches_and_sound() -> None:
    y = torch.arange(3 * 6 * 9).reshape(3, 6, 9).short()
    assert torch.equal(CenterCrop(4)(y), y[:, 1:5, 2:6])
    assert torch.equal(CenterCrop((6, 3))(y[None]), y[None, :, :, 3:6])
    assert torch.equal(CenterCrop((3,))(y[:, 0]), y[:, 0, 3:6])
    torch.manual_seed(0)
    batch = RandomCrop((2, 3))(y.repeat(64, 1, 1, 1))
    found = {(int(one[0, 0, 0]) // 9, int(one[0, 0, 0]) % 9) for one in batch}
    assert len(found) > 20 and {place for place, _ in found} == set(range(5)) and {x for _, x in found} == set(range(7))
    for one in batch:
        top, left = int(one[0, 0, 0]) // 9, int(one[0, 0, 0]) % 9
        assert torch.equal(one, y[:, top : top + 2, left : left + 3])
    assert RandomCrop((4,))(y[0]).shape == (6, 4)
    assert RandomCrop(6)(y).shape == (3, 6, 6)


@pytest.mark.parametrize("kind", [CenterCrop, RandomCrop])
def test_crops_do_not_pad(kind: type[CenterCrop]) -> None:
    with pytest.raises(ValueError, match="not padded"):
        kind((7, 3))(torch.zeros(3, 6, 9))
    for size in (0, (1, 2, 3), (), 2.5, "3"):
        with pytest.raises(ValueError, match="expected cells"):
            kind(size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\[c, h, w\]"):
        kind(3)(torch.zeros(6, 9))


def test_resizing_is_means_or_copies_of_cells_and_no_analysis(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    quality = 80
    step = torch.from_numpy(shipped.weights.linear.step(quality))[:, None, None]
    y = latents_of(shipped, astronaut, quality) * step
    half = astronaut.reshape(256, 2, 256, 2, 3).astype(np.float64).mean((1, 3)).round().astype(np.uint8)
    true = latents_of(shipped, half, quality) * step
    small = Resize(32)(y)
    torch.testing.assert_close(small, y.reshape(-1, 32, 2, 32, 2).mean((2, 4)))
    mean = true.mean((1, 2))
    error, light = missed(small, true, mean), missed(small[:1], true[:1], mean[:1])
    print(f"{shipped.name}: means of 2x2 cells miss {error:.3f} of the variance, {light:.3f} of the first channel")
    assert light < 0.06 and 0.05 < error < 0.2  # brightness holds, the rest does not
    assert torch.equal(Resize(64, "nearest")(y), y)
    doubled = Resize(128, "nearest")(y.short())
    assert torch.equal(doubled, y.short().repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert Resize((5,))(y[:, 0]).shape == (len(y), 5)
    assert Resize((3, 5))(torch.stack((y, y))).shape == (2, len(y), 3, 5)
    with pytest.raises(TypeError, match="dequantize"):
        Resize(32)(y.short())
    with pytest.raises(ValueError, match="bilinear"):
        Resize(32, "bilinear")  # type: ignore[arg-type]


def test_mixtures_of_latents_are_latents_of_mixtures(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    """But for rounding: the analysis is affine."""
    quality = 80
    step = torch.from_numpy(shipped.weights.linear.step(quality))[:, None, None]
    images = [astronaut[:256, :256], astronaut[256:, 256:]]
    y = torch.stack([latents_of(shipped, x, quality) * step for x in images])
    torch.manual_seed(1)
    mixed, labels = MixUp(num_classes=2)(y, torch.tensor([0, 1]))
    own = float(labels[0, 0])
    image = (own * images[0] + (1 - own) * images[1].astype(np.float64)).round().astype(np.uint8)
    true = latents_of(shipped, image, quality) * step
    assert missed(mixed[0], true, true.mean((1, 2))) < 0.02
    torch.manual_seed(1)
    pasted, labels = CutMix(num_classes=2)(y, torch.tensor([0, 1]))
    other = (pasted[0] == y[1]).all(0)
    assert float(other.double().mean()) == pytest.approx(1 - float(labels[0, 0]))
    assert torch.equal(pasted[0][:, ~other], y[0][:, ~other])


def test_mixing_takes_sound_and_refuses_what_it_cannot_mix() -> None:
    y, labels = torch.randn(4, 3, 50), torch.tensor([0, 1, 2, 1])
    for kind in (MixUp, CutMix):
        mixed, shares = kind(num_classes=3)(y, labels)
        assert mixed.shape == y.shape and shares.shape == (4, 3)
        torch.testing.assert_close(shares.sum(1), torch.ones(4))
        mixed, _ = kind()(torch.randn(4, 3, 5, 6), torch.eye(4))
        assert mixed.shape == (4, 3, 5, 6)
        with pytest.raises(ValueError, match="num_classes"):
            kind()(y, labels)
        with pytest.raises(ValueError, match="labels"):
            kind(num_classes=3)(y, labels[:2])
        with pytest.raises(ValueError, match="3 classes"):
            kind(num_classes=4)(y, torch.eye(3)[[0, 1, 2, 0]])
        with pytest.raises(ValueError, match="alpha"):
            kind(alpha=0)
    with pytest.raises(TypeError, match="dequantize"):
        MixUp(num_classes=3)(y.short(), labels)
    assert CutMix(num_classes=3)(y.short(), labels)[0].dtype == torch.int16


@pytest.mark.parametrize(("label", "why"), [(-100, "-100 to 1, expected 0 to 2: -100 is a sample"), (3, "1 to 3")])
def test_labels_that_no_class_has_are_not_mixed(label: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        MixUp(num_classes=3)(torch.zeros(2, 12, 4, 4), torch.tensor([1, label]))
