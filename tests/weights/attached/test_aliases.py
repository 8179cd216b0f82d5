# SPDX-License-Identifier: Apache-2.0
"""Compressed weights under operations that write without saying so, in inference mode, and in state dicts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus import weights
from tests.weights.attached.small_models import same_bits
from tests.weights.attached.test_compressed_tensor import attached, linears

ALIASES = {
    "as_strided": lambda w: w.as_strided((2, 2), (1, 1)),
    "unsafe_chunk": lambda w: torch.unsafe_chunk(w, 2)[0],
    "unsafe_split": lambda w: torch.unsafe_split(w, 2)[0],
    "type_as": lambda w: w.type_as(torch.ones(1, dtype=w.dtype)),
    "atleast_3d": torch.atleast_3d,
    "dropout": lambda w: F.dropout(w, 0.5, False),
    "feature dropout": lambda w: F.dropout2d(w[None, None], 0.5, False),
    "broadcast": lambda w: torch.broadcast_tensors(w, torch.ones(1))[0],
    "meshgrid": lambda w: torch.meshgrid(w[0], w[1], indexing="ij")[0],
    "einsum": lambda w: torch.einsum("ij->ji", w),
    "to_dense": lambda w: w.to_dense(),
}


@pytest.mark.parametrize("what", ALIASES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_whatever_aliases_a_weight(what: str, mode: Any, tmp_path: Path) -> None:
    """It reads as that of a plain weight, and refuses to be written."""
    model = linears()
    other = attached(model, tmp_path)
    with mode():
        found, wanted = ALIASES[what](other[1].weight), ALIASES[what](model[1].weight)
        assert same_bits(found + 0, wanted + 0)
        with pytest.raises(RuntimeError, match=r"1\.weight is compressed and cannot be written to"):
            found.fill_(9)
        assert same_bits(other[1].weight + 0, model[1].weight + 0)


def test_memory_is_not_handed_out(tmp_path: Path) -> None:
    weight = attached(linears(), tmp_path)[1].weight
    with pytest.raises(RuntimeError, match=r"1\.weight is compressed; give others its \.clone\(\)"):
        torch.from_dlpack(weight.detach())
    with pytest.raises(RuntimeError, match="no memory of its own"):
        weight.const_data_ptr()
    assert not weight.is_shared()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_collectives(group: None, tmp_path: Path) -> None:
    """Their schemas do not say what they write to."""
    model = linears()
    other = attached(model, tmp_path)
    weight, wanted = other[1].weight.detach(), model[1].weight.detach()
    one_each = [torch.empty_like(wanted)]
    torch.distributed.all_gather(one_each, weight)
    assert same_bits(one_each[0], wanted)
    for write in (
        lambda: torch.distributed.all_reduce(weight),
        lambda: torch.distributed.broadcast(weight, 0),
        lambda: torch.distributed.scatter(weight, [wanted], 0),
    ):
        with pytest.raises(RuntimeError, match=r"1\.weight is compressed and cannot be written to"):
            write()
    other.register_forward_pre_hook(lambda *_: torch.distributed.all_reduce(other[1].weight.detach()))
    x = torch.ones(1, 256, dtype=torch.bfloat16)
    with pytest.raises(RuntimeError, match=r"1\.weight is compressed and cannot be written to"):
        other(x)


class Statistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.var = nn.Parameter(torch.zeros(1 << 16)), nn.Parameter(torch.ones(1 << 16))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.var, training=self.training)


def test_running_statistics(tmp_path: Path) -> None:
    model = Statistics()
    other = attached(model, tmp_path, torch.float32)
    x = torch.randn(2, 1 << 16)
    assert same_bits(other(x), model.eval()(x))
    with pytest.raises(RuntimeError, match="mean is compressed and cannot be written to"):
        other.train()(x)


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_products_in_every_mode(requires_grad: bool, mode: Any, tmp_path: Path) -> None:
    """Torch multiplies in another order where a matrix takes gradients, in inference mode too."""
    model: nn.Module = nn.ModuleDict({"attention": nn.MultiheadAttention(256, 4), "linear": nn.Linear(256, 256)})
    other = attached(model, tmp_path, torch.float32)
    x = torch.randn(3, 5, 256, generator=torch.Generator().manual_seed(1)).transpose(0, 1)
    found = []
    for one in (model, other):
        one.requires_grad_(requires_grad)
        with mode():
            found.append(
                [
                    one["linear"](x),
                    torch.matmul(x, one["linear"].weight.t()),
                    one["attention"](x, 2 * x, 2 * x, need_weights=False)[0],
                    F.linear(x, one["attention"].in_proj_weight[:256]),
                    *one["attention"].in_proj_weight.chunk(3),
                ]
            )
    for a, b in zip(*found, strict=True):
        assert same_bits(a + 0, b + 0)


def test_a_refused_state_dict_changes_nothing(tmp_path: Path) -> None:
    model: nn.Module = nn.Sequential(nn.LayerNorm(256), nn.Linear(256, 256))
    other = attached(model, tmp_path)
    state = {key: value.clone() + 1 for key, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"1\.weight is compressed and cannot be written to"):
        other.load_state_dict(state)
    for key, value in other.state_dict().items():
        assert same_bits(value + 0, model.state_dict()[key] + 0)
    other.load_state_dict({"0.weight": state["0.weight"]}, strict=False)
    assert same_bits(other[0].weight, state["0.weight"])
    weights.attachment_of(other).detach()
    other.load_state_dict(state)
    assert same_bits(other[1].weight, state["1.weight"])


def test_detached_parameters_keep_what_they_have(tmp_path: Path) -> None:
    model = linears()
    other = attached(model, tmp_path)
    x = torch.ones(2, 256, dtype=torch.bfloat16)
    for one in (model, other):
        one[1].weight.requires_grad_()
        one[1].weight.register_hook(lambda grad: 2 * grad)
        one[1].weight.named = "w"
        one(x).sum().backward()
    weights.attachment_of(other).detach()
    assert same_bits(other[1].weight.grad, model[1].weight.grad) and other[1].weight.named == "w"
    for one in (model, other):
        one(x).sum().backward()
    assert same_bits(other[1].weight.grad, model[1].weight.grad)
