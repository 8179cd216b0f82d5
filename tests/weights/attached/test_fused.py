# SPDX-License-Identifier: Apache-2.0
"""`attach(fused=True)` where there is no GPU: linear modules decode with their block, when first needed."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from isthmus import weights
from isthmus.weights import Attachment, attach
from isthmus.weights.attached.decoding.buffers import Buffer, BufferPool
from tests.weights.attached.small_models import randomize, same_bits

X = torch.randn(2, 3, 256, generator=torch.Generator().manual_seed(0)).bfloat16()


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.odd = nn.Linear(256, 512), nn.Linear(512, 256), nn.Linear(256, 300)
        self.mix = nn.MultiheadAttention(256, 4, batch_first=True)
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(torch.relu(self.up(x))) + self.odd(x).mean(-1, keepdim=True)
        if self.fails:
            raise KeyError("as told")
        return x + self.mix(x, x, x, need_weights=False)[0]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(256, 256)
        self.layers = nn.ModuleList([Layer() for _ in range(2)])
        self.last = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


@pytest.fixture(autouse=True)
def no_gradients():  # type: ignore[no-untyped-def]
    with torch.no_grad():
        yield


def attached(tmp_path: Path, **options: object) -> tuple[Model, Model, Attachment]:
    model, other = Model().bfloat16().eval(), Model().bfloat16().eval()
    randomize(model, 1)
    save_file(model.state_dict(), tmp_path / "plain.safetensors")
    weights.compress(tmp_path / "plain.safetensors", tmp_path / "a.safetensors")
    return model, other, attach(other, tmp_path / "a.safetensors", fused=True, **options)  # type: ignore[arg-type]


def test_the_same_outputs(tmp_path: Path) -> None:
    model, other, attachment = attached(tmp_path)
    assert same_bits(other(X), model(X))
    assert all(pool._taken == 0 and len(pool._free) <= 2 for pool in attachment._pools.values())
    for name in ("first", "last.0", "layers.1.up"):
        assert same_bits(other.get_submodule(name)(X), model.get_submodule(name)(X))
    attachment.detach()
    assert same_bits(other(X), model(X))


def test_which_modules_multiply(tmp_path: Path) -> None:
    _, _, attachment = attached(tmp_path)
    found = {param.label for group in attachment._groups if group.fused for param in group.params}
    layers = {f"layers.{k}.{name}.weight" for k in (0, 1) for name in ("up", "down", "odd")}
    # Attention reads its projection without calling it.
    assert found == {"first.weight", "last.0.weight", "last.2.weight"} | layers


def test_a_block_is_decoded_once_and_when_it_is_needed(tmp_path: Path) -> None:
    _, other, attachment = attached(tmp_path)
    layer, used = other.layers[0], []
    (fused,) = [group for group in attachment._groups if any(p is layer.down.weight for p in group.params)]
    layer.up.register_forward_pre_hook(lambda *_: used.append(fused._users))
    layer.mix.register_forward_pre_hook(lambda *_: used.append(fused._users))
    decoded: list[object] = []
    for group in attachment._groups:
        original = group.decode
        group.decode = lambda *a, g=group, o=original: (decoded.append(g), o(*a))  # type: ignore[method-assign]
    other(X)
    assert used == [0, 1] and fused._users == 0
    assert len(decoded) == len(set(map(id, decoded))) == len(attachment._groups)


def test_after_an_error_nothing_is_kept(tmp_path: Path) -> None:
    model, other, attachment = attached(tmp_path)
    other.layers[1].fails = True
    with pytest.raises(KeyError, match="as told"):
        other(X)
    assert all(pool._taken == 0 for pool in attachment._pools.values())
    other.layers[1].fails = False
    assert same_bits(other(X), model(X))


def test_gradients(tmp_path: Path) -> None:
    model, other, _ = attached(tmp_path)
    found = []
    with torch.enable_grad():
        for one in (model, other):
            x = X.clone().requires_grad_()
            one(x).float().square().sum().backward()
            found.append(x.grad)
    assert same_bits(*found)


def test_modules_with_a_forward_of_their_own_are_left_alone(tmp_path: Path) -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model, other = nn.Sequential(Scaled(256, 256)).bfloat16().eval(), nn.Sequential(Scaled(256, 256)).bfloat16().eval()
    randomize(model, 3)
    save_file(model.state_dict(), tmp_path / "plain.safetensors")
    weights.compress(tmp_path / "plain.safetensors", tmp_path / "a.safetensors")
    attachment = attach(other, tmp_path / "a.safetensors", fused=True)
    assert not any(group.fused for group in attachment._groups)
    assert same_bits(other(X), model(X))


def test_a_forward_that_was_wrapped_meanwhile(tmp_path: Path) -> None:
    """As accelerate's hooks do: they keep what they found, and call it after `detach` too."""
    model, other, attachment = attached(tmp_path)
    found = other.first.forward
    other.first.forward = lambda x: found(x) + 1
    wanted = model.first(X) + 1
    assert same_bits(other.first(X), wanted)
    attachment.detach()
    assert same_bits(other.first(X), wanted)


class Tied(nn.Module):
    """Reads its embedding's weight itself, by a head that is tied to it or without one."""

    def __init__(self, *, head: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(4096, 256)
        self.head = nn.Linear(256, 4096, bias=False) if head else None
        if self.head:
            self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        return self.head(x) if self.head else nn.functional.linear(x, self.embed.weight)


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("blocks", [None, [""]])
def test_an_embedding_that_its_block_reads(
    head: bool, fused: bool, blocks: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more rows than are decoded may be seen; what a buffer holds before is made to be anything."""
    take = BufferPool.take

    def poisoned(pool: BufferPool, size: int) -> Buffer:
        buffer = take(pool, size)
        buffer.memory.fill_(0x3C)
        return buffer

    monkeypatch.setattr(BufferPool, "take", poisoned)
    kind = nn.Sequential if blocks else nn.ModuleList
    model, other = (
        kind([Tied(head=head)] if kind is nn.ModuleList else OrderedDict({"0": Tied(head=head)})) for _ in "12"
    )
    model, other = model.bfloat16().eval(), other.bfloat16().eval()
    randomize(model, 5)
    save_file({"0.embed.weight": model[0].embed.weight.detach()}, tmp_path / "plain.safetensors")
    weights.compress(tmp_path / "plain.safetensors", tmp_path / "a.safetensors")
    attach(other, tmp_path / "a.safetensors", fused=fused, blocks=blocks)
    ids = torch.tensor([1, 2, 3])
    call = (lambda m: m(ids)) if blocks else (lambda m: m[0](ids))
    assert same_bits(call(other), call(model))
