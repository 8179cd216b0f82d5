# SPDX-License-Identifier: Apache-2.0
"""Integer networks find the same indices on the GPU as in integers, whatever torch is allowed to round there."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from isthmus.entropy import IntegerNetwork, TableFamily
from isthmus.entropy.models.integer_layer import IntegerLayer
from isthmus.models.integer_network import QuantizedNetwork

pytestmark = pytest.mark.gpu
TABLES = 64


@pytest.fixture(params=["highest", "high", "medium"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """What float32 products may be rounded to; cuDNN's convolutions may take TF32 by torch's default anyway."""
    before, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision(request.param)
    torch.backends.cudnn.benchmark = request.param == "high"  # which lets cuDNN try its Winograd kernels
    yield request.param
    torch.set_float32_matmul_precision(before)
    torch.backends.cudnn.benchmark = cudnn


def tables(count: int) -> TableFamily:
    ramp = np.abs(np.arange(-20, 21))
    return TableFamily.from_counts([np.exp(-ramp / (0.2 * 1.1**k)) for k in range(count)], [-20] * count)


def layer(rng: np.random.Generator, inputs: int, outputs: int, kernel: int, groups: int, shift: int) -> IntegerLayer:
    weight = rng.integers(-128, 128, (outputs, inputs // groups, kernel, kernel), np.int8)
    return IntegerLayer(weight, rng.integers(-(60 << shift), 60 << shift, outputs, np.int32), shift, groups)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 9), (3, 32, 48), (17, 12, 28), (64, 5, 1)])
def test_indices_are_those_of_the_cpu(
    device: torch.device,
    precision: str,
    shape: tuple[int, int, int],
    layout: torch.memory_format,
    dtype: torch.dtype,
) -> None:
    rng = np.random.default_rng(0)
    layers = [
        layer(rng, 6, 32, 3, 1, 9),
        layer(rng, 32, 32, 3, 32, 8),  # by channel
        layer(rng, 32, 96, 1, 4, 8),
        layer(rng, 96, 8, 3, 1, 11),
    ]
    network = IntegerNetwork(layers, tables(TABLES))
    batch, height, width = shape
    x = torch.from_numpy(rng.integers(-200, 200, (batch, 6, height, width), np.int16))
    expected = network.reference(x.numpy())
    assert shape == (1, 1, 1) or len(np.unique(expected)) > 20
    found = network(x.to(device).contiguous(memory_format=layout), dtype=dtype)
    assert found.device.type == "cuda" and found.dtype == torch.int16
    assert np.array_equal(found.cpu().numpy(), expected)
    with torch.autocast("cuda", torch.float16):
        assert np.array_equal(network(x.to(device), dtype=dtype).cpu().numpy(), expected)


def test_sums_at_the_bound(device: torch.device, precision: str) -> None:
    """A layer whose largest sums are 2**24 - 1: each place counts."""
    weight = np.full((2, 115, 3, 3), 127, np.int8)
    weight[1] *= -1
    rest = (1 << 24) - 1 - 115 * 9 * 127 * 127
    heavy = IntegerLayer(weight, np.array([rest, -rest], np.int32), 0)
    x = np.random.default_rng(1).choice(np.array([127, 126], np.int8), (2, 115, 9, 9), p=[0.99, 0.01])
    item, row, column = (axis.reshape(-1) for axis in np.indices((2, 9, 9)))
    expected = heavy.sums_at(x, (item, row, column)).reshape(2, 9, 9, 2).transpose(0, 3, 1, 2)
    found = heavy.sums(torch.from_numpy(x).to(device).float()).cpu().numpy()
    assert np.array_equal(found, expected)


def test_what_is_trained_there_runs_everywhere(device: torch.device, precision: str) -> None:
    torch.manual_seed(0)
    network = QuantizedNetwork([4, 32, 32, 2], [3, 3, 1], TABLES).to(device)
    x = torch.randint(-200, 200, (20, 4, 16, 16), device=device)
    trained = network(x)
    trained.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    whole = network.to_integers(tables(TABLES))
    assert np.array_equal(trained.detach().cpu().numpy(), whole.reference(x.cpu().numpy()))
    assert torch.equal(whole(x).cpu(), whole(x.cpu()))


@pytest.mark.filterwarnings("ignore:.*Profiler clears events:UserWarning")
def test_cudnn_is_never_asked(device: torch.device) -> None:
    """Nor are its flags touched, which other threads read."""
    network = IntegerNetwork([layer(np.random.default_rng(0), 64, 64, 3, 1, 9)], tables(TABLES))
    x = torch.randint(-127, 128, (1, 64, 32, 32), dtype=torch.int8, device=device)
    network(x)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        network(x)
    names = {event.key for event in profile.key_averages()}
    assert "aten::_convolution" in names
    assert not [name for name in names if "cudnn" in name], names
    assert torch.backends.cudnn.enabled and torch.backends.cudnn.allow_tf32
