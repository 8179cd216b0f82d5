# SPDX-License-Identifier: Apache-2.0
"""Networks cut in two, and latents put into their middle."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from isthmus.models.backbones import BACKBONES, Backbone, Place
from isthmus.models.cut import cut
from isthmus.models.heads import build_head, check_input
from isthmus.models.heads.adapter import AdaptedBackbone, AdapterConfig, LatentAdapter
from tests.models.test_heads import about


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.out = nn.Linear(8, 4)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.second(x) * self.scale
        y = y + y.mean((2, 3), keepdim=True) * self.scale
        return self.out(y.mean((2, 3)).reshape(y.shape[0], -1))


class Skipping(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.out((x + self.second(x)).mean((2, 3)))


@pytest.mark.parametrize("at", ["first", "first.0", "second", "second.1", "out"])
def test_both_halves_are_the_whole(at: str) -> None:
    model, x = Net().eval(), torch.randn(2, 3, 32, 40)
    front, tail = cut(model, at)
    assert torch.equal(tail(front(x)), model(x))
    nn.init.zeros_(model.out.weight)
    assert torch.equal(tail(front(x)), model(x))  # the same weights


def test_what_cannot_be_cut() -> None:
    for model, at, message in (
        (Net(), "third", "no module 'third' in Net; there are first, second"),
        (Net(), "", "no module"),
        (Net(), "unused", "runs unused 0 times"),
        (Skipping(), "second", "behind second, and on .* beside it"),
    ):
        with pytest.raises(ValueError, match=message):
            cut(model, at)
    assert cut(Skipping(), "first")


@pytest.mark.parametrize(
    ("name", "at"),
    [("resnet18", "layer2"), ("efficientnet_b0", "features.3"), ("mobilenet_v3_small", "features.2"),
     ("vit_b_32", "encoder.layers.encoder_layer_3")],
)  # fmt: skip
def test_networks_of_torchvision(name: str, at: str) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model, x = models.get_model(name, weights=None).eval(), torch.randn(1, 3, 224, 224)
    front, tail = cut(model, at)
    with torch.no_grad():
        assert torch.equal(tail(front(x)), model(x))


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_adapters_have_the_grid_that_is_asked_for(scale: float) -> None:
    adapter = LatentAdapter(about(2), AdapterConfig(7, scale, width=8, blocks=1))
    assert adapter(torch.randn(2, 5, 8, 6)).shape == (2, 7, 8 * scale, 6 * scale)
    with pytest.raises(ValueError, match="scale 3"):
        LatentAdapter(about(2), AdapterConfig(7, 3))
    with pytest.raises(ValueError, match="1 axes"):
        LatentAdapter(about(1), AdapterConfig(7))


def test_a_backbone_on_latents() -> None:
    network = Net()
    backbone = Backbone(network, (120.0,) * 3, (60.0,) * 3, Place("first", 8, 8))
    model = AdaptedBackbone(backbone, about(2), AdapterConfig(8, width=8, blocks=1))
    y, x = torch.randn(2, 5, 4, 4), torch.rand(2, 3, 32, 32) * 255
    assert model(y).shape == (2, 4) and model.adapter(y).shape == model.teacher(x).shape
    assert torch.equal(model.tail(model.teacher(x)), backbone(x))
    assert not any("first" in name for name, _ in model.named_parameters())
    model(y).sum().backward()
    assert model.adapter.output.weight.grad is not None and network.out.weight.grad is not None
    with pytest.raises(ValueError, match="no masks"):
        model(y, torch.ones(2, 4, 4, dtype=torch.bool))


@pytest.mark.parametrize("name", list(BACKBONES))
def test_backbones_take_latents_of_any_cell(name: str) -> None:
    pytest.importorskip("torchvision")
    place = BACKBONES[name]
    for cell in (8, 16):
        read = replace(about(2), cell=cell)
        model = build_head(f"adapter:{name}", read, 3).eval()
        side = 224 // cell
        with torch.no_grad():
            assert model(torch.randn(1, 5, side, side)).shape == (1, 3)
            given = model.teacher(torch.rand(1, 3, 224, 224) * 255)
        assert given.shape == (1, place.channels, 224 // place.stride, 224 // place.stride)


def test_a_backbone_of_one_size() -> None:
    pytest.importorskip("torchvision")
    model = build_head("adapter:vit-b-16", about(2), 3).eval()
    with pytest.raises(ValueError, match="latents of 32x28 cells, this backbone takes 28x28 only: transcode with"):
        model(torch.randn(1, 5, 32, 28))
    with pytest.raises(ValueError, match="got 200x192 pixels, this one takes 224x224 only"):
        model.teacher(torch.zeros(1, 3, 192, 200))  # type: ignore[operator]
    check_input("adapter:vit-b-16", about(2), (28, 28), "set")
    check_input("adapter:resnet18", about(2), None, "set")
    check_input("adapter:vit-b-16", replace(about(2), cell=16), (14, 14), "set")
    with pytest.raises(ValueError, match="set: latents of several sizes, or unknown ones; .* takes 28x28"):
        check_input("adapter:vit-b-16", about(2), None, "set")


def test_heads_and_backbones_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="head 'adapter:alexnet', expected one of convnext-s"):
        build_head("adapter:alexnet", about(2), 3)
    with pytest.raises(ValueError, match="adapter:resnet50"):
        build_head("perceptron", about(2), 3)
    with pytest.raises(ValueError, match="1 axes"):
        build_head("adapter:resnet18", about(1), 3)
