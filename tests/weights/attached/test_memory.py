# SPDX-License-Identifier: Apache-2.0
"""Compressed parameters share memory that is used again: no result may lie in it, and no pointer leads there."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_model, save_file, save_model
from torch import Tensor, nn

from isthmus import weights
from tests.weights.attached.small_models import Tied, randomize, same_bits, save

X = torch.randn(2, 256, generator=torch.Generator().manual_seed(0))


def linears() -> nn.Sequential:
    return nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 256)).requires_grad_(False).eval()


def attached(tmp_path: Path, **options: object) -> tuple[nn.Sequential, nn.Sequential]:
    model, other = linears(), linears()
    randomize(model, 1)
    weights.attach(other, save(model, tmp_path / "a.safetensors"), **options)  # type: ignore[arg-type]
    return model, other


def test_places_in_memory_are_the_tensors_own(tmp_path: Path) -> None:
    model, other = attached(tmp_path, blocks=[""])
    for a, b in ((model[1].weight, other[1].weight), (model[1].weight[2:], other[1].weight[2:])):
        for read in (lambda w: w.as_strided((4, 4), (1, 1), w.storage_offset()),
                     lambda w: torch.as_strided_copy(w, (4, 4), (1, 1), w.storage_offset() + 7)):  # fmt: skip
            assert same_bits(read(a), read(b))
    with pytest.raises(RuntimeError, match="cannot be written to"):
        torch.empty(0).set_(other[1].weight)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_results_keep_their_numbers(tmp_path: Path) -> None:
    model, other = attached(tmp_path)
    found = torch.sparse_coo_tensor(torch.arange(256)[None], other[1].weight, (256, 256))
    other(X)
    other[0].weight + 0
    assert same_bits(found.to_dense(), model[1].weight)


def test_graphs_of_fx_are_refused(tmp_path: Path) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    _, other = attached(tmp_path)
    with pytest.raises(RuntimeError, match="make_fx: attached weights cannot be part of an exported graph"):
        make_fx(other)(X)


def test_arrays(tmp_path: Path) -> None:
    model, other = attached(tmp_path)
    found = other[1].weight.numpy()
    assert np.array_equal(found, model[1].weight.numpy()) and not found.flags.writeable
    assert np.array_equal(np.asarray(other[1].weight), found)
    assert np.array_equal(np.from_dlpack(other[1].weight.clone()), found)
    other.requires_grad_()
    with pytest.raises(RuntimeError, match="requires grad"):
        other[1].weight.numpy()


POINTERS = {
    "share_memory": "m.share_memory()",
    "to_dlpack": "torch.utils.dlpack.to_dlpack(m[1].weight)",
    "storage": "torch.empty(0).set_(m[1].weight.untyped_storage(), 0, (256, 256)).sum()",
    "data_ptr": "m[1].weight.data_ptr()",
}


@pytest.mark.parametrize("what", POINTERS)
def test_no_pointer_leads_nowhere(what: str, tmp_path: Path) -> None:
    path = save(linears(), tmp_path / "a.safetensors")
    code = f"""
import torch
from isthmus import weights
m = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.Linear(256, 256)).requires_grad_(False)
weights.attach(m, {str(path)!r})
try:
    {POINTERS[what]}
except RuntimeError as error:
    print("refused", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("refused"), done.stderr


def test_tied_weights_are_saved_once(tmp_path: Path) -> None:
    model, other = Tied().eval(), Tied().eval()
    weights.attach(other, save(model, tmp_path / "a.safetensors"))
    save_model(other, str(tmp_path / "saved.safetensors"))
    again = Tied()
    load_model(again, str(tmp_path / "saved.safetensors"))
    assert same_bits(again.head.weight.detach(), model.head.weight.detach())


def test_a_model_that_nobody_has_is_freed(tmp_path: Path) -> None:
    _, other = attached(tmp_path)
    other(X)
    attachment, gone = weights.attachment_of(other), weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None
    with pytest.raises(RuntimeError, match="is gone"):
        attachment.report()


def test_attaching_twice_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    model, other = attached(tmp_path)
    for around in (other, nn.Sequential(other)):
        with pytest.raises(ValueError, match=r"is compressed already; detach\(\) what is attached first"):
            weights.attach(around, tmp_path / "a.safetensors", strict=False)
    assert same_bits(other(X), model(X))
    weights.attachment_of(other).detach()
    weights.attach(other, tmp_path / "a.safetensors")
    assert same_bits(other(X), model(X))


def test_tied_weights_of_which_the_file_has_two(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(256, 256, bias=False), nn.Linear(256, 256, bias=False)
            self.b.weight = self.a.weight

    one, two = torch.randn(256, 256), torch.randn(256, 256)
    for name, tensors in (("same", {"a.weight": one, "b.weight": one.clone()}),
                          ("other", {"a.weight": one, "b.weight": two})):  # fmt: skip
        save_file(tensors, tmp_path / f"{name}.safetensors")
        weights.compress(tmp_path / f"{name}.safetensors", tmp_path / f"{name}.dfloat")
    model = Pair()
    with pytest.raises(ValueError, match="a.weight and b.weight are one tensor in the model, but two that differ"):
        weights.attach(model, tmp_path / "other.dfloat")
    assert weights.attach(model, tmp_path / "same.dfloat").unused == ()
    assert same_bits(model.b.weight.detach().clone(), one)


def test_another_dtype_than_the_models_is_refused(tmp_path: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in linears().state_dict().items()}
    tensors["1.weight"] = tensors["1.weight"].float()
    save_file(tensors, tmp_path / "mixed.safetensors")
    weights.compress(tmp_path / "mixed.safetensors", tmp_path / "mixed.dfloat")
    with pytest.raises(ValueError, match="1.weight is torch.float32 .* but torch.bfloat16"):
        weights.attach(linears().bfloat16(), tmp_path / "mixed.dfloat")


def test_parameters_lie_in_memory_as_the_models_do(tmp_path: Path) -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(300, 320).t(), requires_grad=False)
            self.conv = nn.Conv2d(64, 64, 3).to(memory_format=torch.channels_last).requires_grad_(False)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x @ self.w, self.conv(x.expand(64, 30, 320)[None])

    model, other = Turned(), Turned()
    weights.attach(other, save(model, tmp_path / "a.safetensors"))
    assert [p.stride() for p in other.parameters()] == [p.stride() for p in model.parameters()]
    x = torch.randn(30, 320)
    for found, wanted in zip(other(x), model(x), strict=True):
        assert same_bits(found, wanted) and found.stride() == wanted.stride()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_tools_that_copy_or_compile_modules(tmp_path: Path) -> None:
    _, other = attached(tmp_path)
    with pytest.raises(AttributeError, match="torch.jit.script: attached weights cannot be part"):
        torch.jit.script(other)
