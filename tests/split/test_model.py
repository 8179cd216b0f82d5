# SPDX-License-Identifier: Apache-2.0
"""Networks of torchvision in two parts, by the path of a module."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import densenet121, efficientnet_b0, mobilenet_v3_small, resnet18, vit_b_16

from isthmus.errors import CorruptStreamError, WeightsMismatchError
from isthmus.models.backbones.vision_transformer import PatchedTransformer
from isthmus.split.model import SplitModel
from isthmus.split.server import Limits, open_server

MODELS: list[tuple[Any, str, int]] = [
    (resnet18, "layer2", 64), (densenet121, "features.transition1", 64), (mobilenet_v3_small, "features.3", 64),
    (efficientnet_b0, "features.2", 64),
    (lambda weights: PatchedTransformer(vit_b_16(weights=weights)), "patches", 224),
]  # fmt: skip


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("made", "at", "size"), MODELS, ids=["resnet", "densenet", "mobilenet", "efficientnet", "vit"])
def test_networks_in_two(made: Any, at: str, size: int) -> None:
    torch.manual_seed(0)
    split = SplitModel(made(weights=None), at, channels=3, size=size)
    shown = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    data = split.head(shown, quality=70)
    assert all(isinstance(one, bytes) for one in data) and len(split.head(shown[0], quality=1)) < len(data[0])
    logits = split.tail(data)
    assert logits.shape == (2, 1000) and torch.allclose(split.tail(data[1]), logits[1], atol=1e-4)
    wanted = split.network(torch.stack([split.codec.unpack(one).dequantize()["y"] for one in data]))
    assert torch.allclose(wanted, logits, atol=1e-4)


@pytest.mark.parametrize("bottleneck", ["bottlefit", "walloc-image-f8c12"])
def test_saved_and_loaded(bottleneck: str, pictures: torch.Tensor, tmp_path: Path) -> None:
    split = SplitModel(resnet18(weights=None), "layer2", bottleneck, 5, size=64)
    split.save(tmp_path / "run")
    assert (tmp_path / "run" / "codec.safetensors").exists() == (bottleneck == "bottlefit")
    given = resnet18(weights=None)
    before = {name: value.clone() for name, value in given.state_dict().items()}
    again = SplitModel.load(tmp_path / "run", given)
    data = split.head(pictures)
    assert again.head(pictures) == data and torch.allclose(again.tail(data), split.tail(data), atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    with pytest.raises(CorruptStreamError, match="its network, ResNet@layer2, is none of isthmus"):
        SplitModel.load(tmp_path / "run")
    with pytest.raises(CorruptStreamError, match="not a trained head"):
        SplitModel.load(tmp_path / "run", mobilenet_v3_small(weights=None))
    server = open_server(again.served, port=0, limits=Limits())
    assert server.url
    server.stop()


def test_grids_of_several_sizes(pictures: torch.Tensor) -> None:
    split = SplitModel(resnet18(weights=None), "layer2", channels=2, size=64)
    data = [split.head(pictures[0]), split.head(pictures[1, :, :40, :48]), split.head(pictures[2])]
    logits = split.tail(data)
    assert torch.allclose(logits[1], split.tail(data[1]), atol=1e-4) and split.tail([]).shape == (0, 1000)


def test_what_is_refused(pictures: torch.Tensor) -> None:
    network = resnet18(weights=None)
    split = SplitModel(network, "layer2", channels=2, size=64)
    other = SplitModel(network, "layer2", channels=3, size=64)
    data = split.head(pictures[0])
    with pytest.raises(WeightsMismatchError, match="stream 1 of 2: sent: a stream of"):
        split.tail([data, other.head(pictures[0])])
    with pytest.raises(CorruptStreamError):
        split.tail(data[:-1])
    with pytest.raises(ValueError, match="no module 'layer7' in ResNet; there are layer4, layer3"):
        SplitModel(network, "layer7")
    with pytest.raises(ValueError, match=r"no module 'layer2.0.conv9' in ResNet; there are layer2.0.conv"):
        SplitModel(network, "layer2.0.conv9")
    with pytest.raises(ValueError, match=r"fc gives a tensor \[1, 1000\], expected features on a square grid"):
        SplitModel(network, "fc")

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.tail = nn.Conv2d(3, 4, 8, 8), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": self.tail(self.front(x).mean((2, 3)))}

    with pytest.raises(ValueError, match=r"Pair gives a dict, expected logits, a tensor \[n, classes\]"):
        SplitModel(Pair(), "front")
