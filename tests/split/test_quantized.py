# SPDX-License-Identifier: Apache-2.0
"""Features rounded without training."""

import pytest
import torch
from torchvision.models import resnet18

from isthmus.errors import CorruptStreamError
from isthmus.split.quantized import QuantizedFeatures, narrowest


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return resnet18(weights=None).eval()


def test_where_the_fewest_numbers_go_on(network: torch.nn.Module) -> None:
    assert narrowest(network, 64) == "layer4"  # 512 x 2 x 2; what is beside skips cannot be cut
    with pytest.raises(ValueError, match="Sequential has no features on a grid"):
        narrowest(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 2)), 64)


@pytest.mark.parametrize(("bits", "keep"), [(8, 1.0), (4, 1.0), (1, 1.0), (4, 0.1)])
def test_features_come_back(network: torch.nn.Module, bits: int, keep: float) -> None:
    features = QuantizedFeatures(network, "layer3", bits, keep)
    with torch.inference_mode():
        x = features.front(torch.rand(1, 3, 64, 64))[0]
    data = features.pack(x)
    found = features.unpack(data)
    step = float(x.max() - x.min()) / (2**bits - 1)
    if keep == 1:
        assert (found - x).abs().max() <= step * (0.51 if bits > 1 else 1.01)
    else:
        assert (found == 0).sum() >= 0.85 * x.numel()
    assert features.tail(found[None]).shape == (1, 1000)
    assert torch.equal(features.unpack(features.pack(torch.zeros(2, 3, 4))), torch.zeros(2, 3, 4))
    for broken in (b"", data[:-1], b"ISQ1" + data[4:-4] + b"\0" * 4, data[: len(data) // 2]):
        with pytest.raises(CorruptStreamError, match="no whole payload"):
            features.unpack(broken)


def test_numbers_that_make_no_sense(network: torch.nn.Module) -> None:
    for bits, keep in ((0, 1.0), (9, 1.0), (4, 0.0), (4, 1.5)):
        with pytest.raises(ValueError, match="expected 1 to 8 bits, a share above 0"):
            QuantizedFeatures(network, "layer3", bits, keep)
