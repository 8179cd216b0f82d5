# SPDX-License-Identifier: Apache-2.0
"""Where weights go: maps of devices, and memory that several groups use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.decoder import Decoder
from isthmus.codecs.dfloat.payload import read_payload
from isthmus.weights import attach, compress
from isthmus.weights.attached.blocks import find_blocks
from isthmus.weights.attached.decoding.buffers import BufferPool
from isthmus.weights.attached.decoding.group import Group, Settings
from isthmus.weights.attached.decoding.items import Item, PayloadItem, PlainItem, UpstreamItem
from isthmus.weights.attached.decoding.move import for_device
from isthmus.weights.attached.devices import Devices
from isthmus.weights.attached.tensors.nodes import Held, Stored
from isthmus.weights.attached.tensors.tensor import CompressedTensor
from isthmus.weights.upstream.encode import encode_block
from tests.weights.attached.small_models import Tied, same_bits, save

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


def bf16(n: int) -> Tensor:
    return (torch.randn(n, generator=torch.Generator().manual_seed(n)) * 0.02).bfloat16()


def items_of(weights: Tensor) -> dict[str, Item]:
    """An item of each kind that holds these weights, and one that is a delta."""
    bits = weights.view(torch.int16).numpy().view(np.uint16)
    head = (("x",), (tuple(weights.shape),), weights.dtype)
    base = np.roll(bits, 1)
    whole = read_payload(coding.encode(bits))
    delta = read_payload(coding.encode(bits ^ base))
    payload = PayloadItem(*head, whole)
    return {
        "payload": payload,
        "delta": PayloadItem(*head, delta, base),
        "device": for_device(payload, 1),
        "plain": PlainItem(*head, weights),
        "upstream": UpstreamItem(*head, encode_block("x", [bits])),
    }


@pytest.mark.parametrize("kind", ["payload", "delta", "device", "plain", "upstream"])
def test_parts_of_an_item(kind: str) -> None:
    weights = bf16(1_000_001)
    item = items_of(weights)[kind]
    for parts in ([slice(5, 9)], [slice(65_530, 65_541), slice(131_072, 262_150), slice(999_999, 1_000_001)],
                  [slice(131_072, 196_608), slice(0, 1)], []):  # fmt: skip
        out = torch.full_like(weights, torch.nan)
        item.decode(out, 2, {n for part in parts for n in item.pieces_of(part)})
        assert all(same_bits(out[part], weights[part]) for part in parts)
        assert out.isnan().sum() >= 100_000  # not everything was decoded
        assert same_bits(out[~out.isnan()], weights[~out.isnan()])
    out = torch.full_like(weights, torch.nan)
    item.decode(out, 2)
    assert same_bits(out, weights)


def group_of(item: Item, shape: tuple[int, ...], pool: BufferPool) -> tuple[Group, CompressedTensor]:
    stored = Stored(replace(item, shapes=(shape,)))
    param = CompressedTensor(stored, CPU)
    group = Group([param], Settings(lambda _: pool))
    param.node = Held(group, 0, stored.meta)
    return group, param


def test_a_part_in_use_becomes_the_whole() -> None:
    weights = bf16(1_000_000).view(5000, 200)
    pool = BufferPool(CPU)
    group, param = group_of(items_of(weights.reshape(-1))["payload"], (5000, 200), pool)
    pool.take(group.nbytes).memory.fill_(255)
    buffer = pool.take(group.nbytes)
    buffer.memory.fill_(255)
    pool.give_back(buffer)
    group.acquire([slice(0, 2000)])
    shown = group.tensor(0)
    assert same_bits(shown[:10], weights[:10]) and shown[-10:].isnan().all()
    group.acquire([slice(998_000, 1_000_000)])
    assert same_bits(shown[-10:], weights[-10:]) and shown[2000:2010].isnan().all()
    group.acquire()
    assert same_bits(shown, weights)
    for _ in range(2):
        group.release()
        assert same_bits(shown, weights)
    group.release()
    assert pool._taken == group.nbytes  # the one that was taken first
    assert same_bits(param.clone(), weights)


def test_views_are_made_once_for_each_memory() -> None:
    group, _ = group_of(items_of(bf16(1000))["plain"], (1000,), BufferPool(CPU))
    memory, other = torch.empty(4096, dtype=torch.uint8), torch.empty(4096, dtype=torch.uint8)
    found = group.views(memory)
    assert group.views(memory) is found
    assert found.tensors[0].data_ptr() == memory.data_ptr() and found.tensors[0].shape == (1000,)
    assert group.views(other).tensors[0].data_ptr() == other.data_ptr()


def test_an_embedding_decodes_the_rows_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(6000, 192), nn.Linear(192, 6000, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embed(ids))

    model = Model().bfloat16().eval()
    model.embed.weight.data = bf16(6000 * 192).view(6000, 192)
    save_file({"embed.weight": model.embed.weight.detach()}, tmp_path / "plain.safetensors")
    compress(tmp_path / "plain.safetensors", tmp_path / "a.safetensors")
    other = Model().bfloat16().eval()
    attach(other, tmp_path / "a.safetensors", threads=1)
    runs: list[int] = []
    decode = Decoder.decode
    monkeypatch.setattr(Decoder, "decode", lambda self, run, out: (runs.append(run), decode(self, run, out))[1])
    ids = torch.tensor([[0, 5999], [7, 0]])
    with torch.no_grad():
        assert same_bits(other.embed(ids), model.embed(ids))
        assert runs == [0, 4]
        assert same_bits(other(ids), model(ids))
        assert runs == [0, 4, 0, 4, 0, 1, 2, 3, 4]
        assert same_bits(other.embed(input=ids), model.embed(ids))
        for wrong in (torch.tensor([6000]), torch.tensor([-1])):
            with pytest.raises(IndexError):
                other.embed(wrong)
        assert same_bits(other(ids), model(ids))


def test_an_embedding_with_a_forward_of_its_own(tmp_path: Path) -> None:
    class Scaled(nn.Embedding):
        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids) * self.weight.mean()

    model, other = Scaled(600, 192).bfloat16(), Scaled(600, 192).bfloat16()
    attach(other, save(model, tmp_path / "a.safetensors"))
    assert same_bits(other(torch.tensor([3, 599])), model(torch.tensor([3, 599])))


def test_names_that_the_model_has_not(tmp_path: Path) -> None:
    model = Tied().bfloat16().eval()
    path = save(model, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"device names 'layer.0', which .* has not|did you mean 'layers.0'"):
        attach(model, path, device={"layer.0": "cpu", "": "cpu"})
    with pytest.raises(ValueError, match="'disk'"):
        attach(model, path, device={"layers.0": "disk"})


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
