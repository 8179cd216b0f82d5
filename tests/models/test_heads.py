# SPDX-License-Identifier: Apache-2.0
"""Heads: shapes, grids of any size, padding that changes nothing."""

from typing import Any

import pytest
import torch

from isthmus.models.heads import HEADS, LatentInput, build_head
from isthmus.models.heads.convnext import ConvNextClassifier, ConvNextConfig
from isthmus.models.heads.vit import VitClassifier, VitConfig

SMALL: list[tuple[Any, Any]] = [
    (ConvNextClassifier, ConvNextConfig((8, 16), (1, 1), 3)),
    (ConvNextClassifier, ConvNextConfig((8, 16), (1, 2), 5, patch=2, fine=10.0)),
    (VitClassifier, VitConfig(16, 2, 2)),
    (VitClassifier, VitConfig(16, 1, 2, patch=1)),
]


def about(axes: int, channels: int = 5) -> LatentInput:
    return LatentInput(channels, axes, tuple(range(channels)), tuple(1.0 + n for n in range(channels)))


@pytest.mark.parametrize("name", list(HEADS))
def test_every_head_has_its_shape_and_gradients(name: str) -> None:
    with torch.device("meta"):
        model, y = build_head(name, about(2), 7), torch.zeros(2, 5, 6, 9)
    if name.startswith("clip"):
        y = y[:, None].expand(2, 3, 5, 6, 9)
    expected = (2, 7, 48, 72) if name.startswith("dense") else (2, 7)
    assert model(y).shape == expected


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (6, 5), (13,), (1,)])
@pytest.mark.parametrize(("kind", "config"), SMALL)
def test_padding_changes_nothing(kind: Any, config: Any, grid: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    model = kind(about(len(grid)), 3, config).eval()
    y, wide = torch.randn(2, 5, *grid), [n + 5 for n in grid]
    inside = (slice(None), *(slice(0, n) for n in grid))
    padded, mask = torch.full((2, 5, *wide), 100.0), torch.zeros(2, *wide, dtype=torch.bool)
    padded[(slice(None), *inside)], mask[inside] = y, True
    with torch.no_grad():
        assert torch.allclose(model(padded, mask), model(y), atol=1e-5)


@pytest.mark.parametrize("name", ["convnext-s", "sound-s", "vit-s", "dense-s", "clip-s"])
def test_padding_alone_and_no_samples_are_no_trouble(name: str) -> None:
    torch.manual_seed(0)
    axes = 1 if name == "sound-s" else 2
    model, grid = build_head(name, about(axes), 3).eval(), (9, 6)[:axes]
    y, mask = torch.randn(2, 5, *grid), torch.zeros(2, *grid, dtype=torch.bool)
    mask[0] = True
    if name == "clip-s":
        y, mask = y[:, None].expand(2, 4, 5, *grid), torch.tensor([[True] * 4, [False] * 4])
    with torch.no_grad():
        out = model(y, mask)
        assert out.isfinite().all() and torch.allclose(out[0], model(y[:1])[0], atol=1e-5)
        assert model(y[:0]).shape == (0, *out.shape[1:]) and model(y[:0], mask[:0]).shape == (0, *out.shape[1:])
        with pytest.raises(ValueError, match="whose grid is empty"):
            model(y[..., :0])
    if name == "clip-s":
        with pytest.raises(ValueError, match="expected clips"):
            model(y[:, :0])


@pytest.mark.parametrize(("kind", "config"), SMALL)
def test_all_weights_learn(kind: Any, config: Any) -> None:
    torch.manual_seed(0)
    model = kind(about(2), 3, config)
    model(torch.randn(4, 5, 6, 6)).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_what_is_wrong_is_named() -> None:
    model = build_head("convnext-s", about(2), 3)
    with pytest.raises(ValueError, match=r"got latents \(2, 6, 4, 4\), expected \[n, 5, h, w\]"):
        model(torch.zeros(2, 6, 4, 4))
    with pytest.raises(ValueError, match="head 'resnet', expected one of convnext-s"):
        build_head("resnet", about(2), 3)
    with pytest.raises(ValueError, match="0 outputs"):
        build_head("vit-s", about(2), 0)
    with pytest.raises(ValueError, match="expected images"):
        build_head("dense-s", about(1), 3)
