# SPDX-License-Identifier: Apache-2.0
"""Where weights go: maps of devices, and memory that several groups use."""

from pathlib import Path

import pytest
import torch
from small_models import Tied, same_bits, save
from torch import nn

from isthmus.weights import attach
from isthmus.weights.attach_blocks import find_blocks
from isthmus.weights.attach_buffers import BufferPool
from isthmus.weights.attach_load import Devices

CPU, META = torch.device("cpu"), torch.device("meta")


def test_the_longest_name_counts() -> None:
    here, there = torch.zeros(1), torch.zeros(1, device="meta")
    assert [Devices(None).of("a.b", tensor) for tensor in (here, there)] == [CPU, CPU]
    assert [Devices("meta").of("a.b", tensor) for tensor in (here, there)] == [META, META]
    devices = Devices({"": "meta", "model.layers.1": "cpu", "model.layers.1.mlp": "meta", "head": 1})
    for name, where in {
        "model.layers.1.up.weight": CPU,
        "model.layers.1.mlp.up.weight": META,
        "model.layers.10.up.weight": META,
        "head.weight": torch.device("cuda", 1),
        "x": META,
    }.items():
        assert devices.of(name, here) == where
    assert Devices({"a": "meta"}).of("b.weight", here) == CPU


def test_inputs_move_with_the_layers() -> None:
    seen: list[str] = []

    class See(nn.Module):
        def forward(self, x, pair=None, **more):  # type: ignore[no-untyped-def]
            seen.extend(tensor.device.type for tensor in (x, pair[0], more["mask"]["a"]))
            seen.append(type(more["other"]).__name__)
            return x

    model = nn.Sequential(See(), nn.Identity())
    assert Devices({"0": "meta"}).hook(model) == [] == Devices("cpu").hook(model)
    hooks = Devices({"0": "meta", "1": "cpu"}).hook(model)
    x = torch.zeros(2)
    model[0](x, pair=(x, 3), mask={"a": x}, other={1})
    assert seen == ["meta", "meta", "meta", "set"]
    assert len(hooks) == 2
    for hook in hooks:
        hook.remove()
    model[0](x, pair=(x, 3), mask={"a": x}, other=None)
    assert seen[4:] == ["cpu", "cpu", "cpu", "NoneType"]


def test_a_map_of_one_device(tmp_path: Path) -> None:
    model = Tied().bfloat16().eval()
    path = save(model, tmp_path / "a.safetensors")
    with torch.device("meta"):
        other = Tied().bfloat16().eval()
    other.steps = torch.arange(5)
    attach(other, path, device={"embed": "cpu", "layers": "cpu", "head": "cpu", "scale": "cpu"})
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert same_bits(other(ids), model(ids))


def test_buffers_are_used_again_but_never_shared() -> None:
    pool = BufferPool(CPU)
    pool.largest = 100
    first = pool.take(50)
    second = pool.take(20)
    assert first.memory.data_ptr() != second.memory.data_ptr()
    assert [len(b.memory) for b in (first, second)] == [100, 100] and pool.nbytes == 200
    pool.give_back(first)
    assert pool.take(70) is first
    pool.give_back(first)
    large = pool.take(300)  # the free one is too small and is let go
    assert len(large.memory) == 300 and pool.nbytes == 400
    pool.give_back(large)
    pool.give_back(second)
    assert pool.nbytes == 400
    assert pool.take(200) is large
    with torch.inference_mode():
        assert not BufferPool(CPU).take(8).memory.is_inference()


def test_blocks_by_themselves() -> None:
    model = Tied()
    owners = ["embed", "head", "layers.0.up", "layers.2.norm"]
    assert find_blocks(model, owners, None) == {
        "embed": "embed", "head": "head", "layers.0.up": "layers.0", "layers.2.norm": "layers.2",
    }  # fmt: skip
    assert find_blocks(model, owners, []) == {owner: owner for owner in owners}
    assert find_blocks(model, owners, ["layers.2"])["layers.2.norm"] == "layers.2"
    assert find_blocks(model, owners, ["layers"])["layers.0.up"] == ""  # a list is never called, what holds it is
    assert find_blocks(model, [""], None) == {"": ""}
    with pytest.raises(ValueError, match="blocks name 'x'"):
        find_blocks(model, owners, ["x"])
