# SPDX-License-Identifier: Apache-2.0
"""Parameters that are compressed: whatever reads them is right, whatever writes to them is refused by name."""

import copy
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from isthmus import weights
from isthmus.weights.attached.tensors.tensor import CompressedTensor
from tests.weights.attached.small_models import WIDTH, Tied, randomize, same_bits, save

IDS = torch.tensor([[3, 200, 0, 7], [5, 6, 7, 210]])


def attached(model: nn.Module, tmp_path: Path, dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """Another of the model, with the same weights, compressed."""
    other = copy.deepcopy(model.to(dtype).eval().requires_grad_(False))
    randomize(model, 1)
    weights.attach(other, save(model, tmp_path / "a.safetensors"))
    return other


def linears(count: int = 2) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(256, 256) for _ in range(count)))


@dataclass
class State:
    h: Tensor


class Passing(nn.Module):
    """A block that takes its input in an object of some kind, and gives its output so."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.up = kind, nn.Linear(256, 256)

    def forward(self, given: object) -> object:
        if self.kind == "dict":
            return {"h": self.up(given["h"])}  # type: ignore[index]
        if self.kind == "list":
            return [self.up(given[0])]  # type: ignore[index]
        return State(self.up(given.h))  # type: ignore[attr-defined]


class Passed(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.layers = kind, nn.ModuleList(Passing(kind) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        given = {"dict": {"h": x}, "list": [x], "object": State(x)}[self.kind]
        for layer in self.layers:
            given = layer(given)
        return given.h if self.kind == "object" else given["h" if self.kind == "dict" else 0]


@pytest.mark.parametrize("kind", ["dict", "list", "object"])
@pytest.mark.parametrize("train", [False, True])
def test_gradients_through_blocks_of_any_arguments(kind: str, train: bool, tmp_path: Path) -> None:
    model = Passed(kind)
    other = attached(model, tmp_path)
    found = []
    for one in (model, other):
        x = torch.ones(2, 256, dtype=torch.bfloat16, requires_grad=True)
        y = one.train(train)(x)
        y.float().square().sum().backward()
        found.append((y.detach(), x.grad))
    assert same_bits(found[0][0], found[1][0]) and same_bits(found[0][1], found[1][1])


def test_weights_that_take_gradients(tmp_path: Path) -> None:
    """As the model has it: torch multiplies by that. The gradients are right; an optimizer is refused."""
    model = linears()
    other = attached(model, tmp_path)
    model.requires_grad_()
    other.requires_grad_()
    for one in (model, other):
        one(torch.ones(2, 256, dtype=torch.bfloat16)).float().square().sum().backward()
    assert all(same_bits(a.grad, b.grad) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    with pytest.raises(RuntimeError, match="0.weight is compressed and cannot be written to"):
        torch.optim.SGD(other.parameters(), lr=0.1).step()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch itself uses it
def test_transforms_of_functions(tmp_path: Path) -> None:
    """torch.func over inputs and over the weights themselves."""
    model = linears()
    other, x = attached(model, tmp_path), torch.ones(3, 256, dtype=torch.bfloat16)
    found = []
    for one in (model.requires_grad_(False), other):
        params = {name: param.detach() for name, param in one.named_parameters()}
        tangents = {name: torch.ones(param.shape, dtype=param.dtype) for name, param in params.items()}

        def loss(params: dict[str, Tensor], one: nn.Module = one) -> Tensor:
            return torch.func.functional_call(one, params, (x,)).square().sum()  # type: ignore[no-any-return]

        found.append(
            [
                *torch.func.grad(loss)(params).values(),
                *torch.func.jvp(loss, (params,), (tangents,)),
                torch.func.vmap(one)(x),
                torch.func.jacrev(one)(x[0]),
                torch.func.jacfwd(one)(x[0]),
            ]
        )
    for ours, wanted in zip(found[1], found[0], strict=True):
        assert same_bits(ours, wanted)


def test_gradients_with_checkpointing_and_of_two_runs(tmp_path: Path) -> None:
    from torch.utils.checkpoint import checkpoint

    model = linears(3)
    other = attached(model, tmp_path)
    grads = []
    for one in (model, other):
        x = torch.ones(2, 256, dtype=torch.bfloat16, requires_grad=True)
        first = checkpoint(one, x, use_reentrant=False)
        second = one(x * 2)
        with torch.no_grad():
            one(torch.zeros(1, 256, dtype=torch.bfloat16))  # decodes into the same memory
        (first + second).float().sum().backward()
        grads.append(x.grad)
    assert same_bits(*grads)


READ = {
    "shape": lambda w: w.shape,
    "norm": lambda w: w.norm(),
    "rows": lambda w: w[3:5] + 0,
    "one": lambda w: w[2, 3].item(),
    "list": lambda w: w[:2].tolist(),
    "numpy": lambda w: w.float().numpy(),
    "transposed": lambda w: torch.ones(2, 256, dtype=w.dtype) @ w.T,
    "equal": lambda w: torch.equal(w, w.clone()),
    "chunks": lambda w: [part.sum() for part in w.chunk(3)],
    "sum of views": lambda w: w.view(-1)[5:700].unflatten(0, (5, -1)).amax(0),
    "cat": lambda w: torch.cat([w, w], 1),
    "iteration": lambda w: [row.mean() for row in w][:3],
    "float": lambda w: w.float() * 2,
    "written float": lambda w: w.to(torch.float64).mul_(2),
    "written copy": lambda w: w.clone().mul_(3).add_(w),
    "out": lambda w: torch.add(w, w, out=torch.empty_like(w)),
    "copy_": lambda w: torch.zeros(256, 256).copy_(w),
    "bool": lambda w: bool((w != 0).any()),
    "contiguous": lambda w: w.t().contiguous(),
    "pickle": lambda w: pickle.loads(pickle.dumps(w)),
    "copy": lambda w: copy.copy(w) + 0,
    "deepcopy": lambda w: copy.deepcopy(w),
    "parameter": lambda w: nn.Parameter(w.clone(), requires_grad=False),
    "einsum": lambda w: torch.einsum("ij,kj->ik", w, w),
    "autocast": lambda w: _autocast(w),
    "vmap": lambda w: torch.vmap(lambda row: row.sum())(w),
}


def _autocast(w: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return nn.functional.linear(torch.ones(3, 256), w)


@pytest.mark.parametrize("what", READ)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_whatever_reads_a_weight(what: str, mode: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    model = linears()
    other = attached(model, tmp_path, dtype)
    with mode():
        wanted, found = READ[what](model[1].weight.detach()), READ[what](other[1].weight)
    for a, b in zip(*([v] if not isinstance(v, list) else v for v in (wanted, found)), strict=True):
        assert type(b) is not CompressedTensor
        assert same_bits(a, b) if isinstance(a, Tensor) else str(a) == str(b)


def test_counts_and_calls_without_the_module(tmp_path: Path) -> None:
    model = linears()
    other = attached(model, tmp_path)
    assert sum(p.numel() for p in other.parameters()) == sum(p.numel() for p in model.parameters())
    assert [p.dtype for p in other.parameters()] == [p.dtype for p in model.parameters()]
    x = torch.ones(3, 256, dtype=torch.bfloat16)
    with torch.no_grad():
        assert same_bits(other[0].forward(x), model[0].forward(x))
        assert same_bits(nn.functional.linear(x, *other[1].parameters()), model[1](x))
    assert "CompressedTensor([256, 256], dtype=torch.bfloat16" in repr(other[0].weight)
    assert "in_features=256" in repr(other)


WRITE = {
    "zeros_": lambda m: nn.init.zeros_(m[1].weight),
    "mul_": lambda m: m[1].weight.mul_(0),
    "rows": lambda m: m[1].weight[2:3].fill_(1),
    "item": lambda m: m[1].weight.__setitem__((0, 0), 1),
    "transposed": lambda m: m[1].weight.T.add_(1),
    "data": lambda m: setattr(m[1].weight, "data", torch.zeros(256, 256)),
    "data in place": lambda m: m[1].weight.data.mul_(2),
    "copy_": lambda m: m[1].weight.copy_(torch.zeros(256, 256)),
    "out": lambda m: torch.add(torch.ones(256, 256), 1, out=m[1].weight),
    "load_state_dict": lambda m: m.load_state_dict({k: v.clone() for k, v in m.state_dict().items()}),
    "half": lambda m: m[1].half(),
    "an adapter merged": lambda m: m[1].weight.data.add_(torch.ones(256, 256)),
    "clip": lambda m: torch._foreach_mul_([m[1].weight], 0.5),
}


@pytest.mark.parametrize("what", WRITE)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_whatever_writes_to_a_weight(what: str, mode: Any, tmp_path: Path) -> None:
    model = linears()
    other = attached(model, tmp_path)
    with mode(), pytest.raises(RuntimeError, match=r"(0|1)\.weight is compressed and cannot be written to"):
        WRITE[what](other)
    x = torch.ones(1, 256, dtype=torch.bfloat16)
    with torch.no_grad():
        assert same_bits(other(x), model(x))


def test_a_weight_that_is_assigned_is_used(tmp_path: Path) -> None:
    model = linears()
    other = attached(model, tmp_path)
    new = torch.zeros(256, 256, dtype=torch.bfloat16)
    for one in (model, other):
        one[1].weight = nn.Parameter(new.clone())
    x = torch.ones(1, 256, dtype=torch.bfloat16)
    assert same_bits(other(x), model(x))
    other.load_state_dict({k: v.clone() + 1 for k, v in model.state_dict().items()}, assign=True)
    assert same_bits(other[0].weight.data, model[0].weight.data + 1)
    assert not isinstance(other[0].weight, CompressedTensor)


def test_copies_and_files_are_ordinary(tmp_path: Path) -> None:
    model = Tied().bfloat16().eval()
    other = attached(model, tmp_path)
    copied = copy.deepcopy(other)
    assert not any(isinstance(p, CompressedTensor) for p in copied.parameters())
    assert copied.head.weight is copied.embed.weight
    layer = copy.deepcopy(other.layers[1])
    saved = io.BytesIO()
    torch.save(other, saved)
    saved.seek(0)
    again = torch.load(saved, weights_only=False)
    with torch.no_grad():
        for one in (copied, again, other):
            assert same_bits(one(IDS), model(IDS))
        x = torch.ones(2, WIDTH, dtype=torch.bfloat16)
        assert same_bits(layer(x), model.layers[1](x))
        layer.up.weight.zero_()  # and may be written to
        assert same_bits(other(IDS), model(IDS))


def test_state_dicts(tmp_path: Path) -> None:
    model = linears().bfloat16().eval()
    other = attached(model, tmp_path)
    found = other.state_dict()
    save_file(found, tmp_path / "again.safetensors")
    torch.save(found, tmp_path / "again.pt")
    fresh = linears().bfloat16()
    fresh.load_state_dict(found)
    for tensors in (load_file(tmp_path / "again.safetensors"), torch.load(tmp_path / "again.pt"), fresh.state_dict()):
        assert all(same_bits(tensors[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.raises(RuntimeError, match="0.weight is compressed and has no memory of its own"):
        other[0].weight.data_ptr()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model(backend: str, tmp_path: Path) -> None:
    model = Tied().bfloat16().eval()
    other = attached(model, tmp_path)
    torch._dynamo.reset()
    compiled, wanted = (torch.compile(one, backend=backend) for one in (other, model))
    with torch.no_grad():
        for ids in (IDS, IDS[:1], IDS):
            assert same_bits(compiled(ids), wanted(ids))
    x = [torch.ones(2, WIDTH, dtype=torch.bfloat16, requires_grad=True) for _ in range(2)]
    for given, one in zip(x, (other, model), strict=True):
        torch.compile(one.layers[0], backend=backend)(given).float().sum().backward()
    assert same_bits(x[0].grad, x[1].grad)
    with torch.no_grad():
        assert same_bits(other(IDS), model(IDS))
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")
def test_exported_graphs_are_refused(tmp_path: Path) -> None:
    other = attached(linears(), tmp_path)
    x = torch.ones(1, 256, dtype=torch.bfloat16)
    with pytest.raises(RuntimeError, match=r"torch.export: attached weights cannot be part .* detach\(\)"):
        torch.export.export(other, (x,))
    with pytest.raises(RuntimeError, match=r"torch.jit.trace: attached weights cannot be part .* detach\(\)"):
        torch.jit.trace(other, (x,))
