# SPDX-License-Identifier: Apache-2.0
"""Tensors are read from compressed, plain and mixed files and folders as safetensors reads plain ones."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from isthmus import weights
from isthmus.errors import CorruptStreamError, UnknownTensorError, UnreadableFileError, WeightsMismatchError
from tests.weights.sample_files import mixed, normal, same, write


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a compressed file and a plain one."""
    write(tmp_path / "plain.safetensors", mixed(), {"format": "pt", "note": "é"})
    (tmp_path / "model").mkdir()
    weights.compress(tmp_path / "plain.safetensors", tmp_path / "model" / "a.dfloat")
    save_file({"lora": normal(30, 20)}, tmp_path / "model" / "b.safetensors")
    return tmp_path / "model"


def test_whole_files(model: Path) -> None:
    plain = load_file(model.with_name("plain.safetensors"))
    for path in (model / "a.dfloat", model.with_name("plain.safetensors"), model):
        found = weights.load_file(path, "cpu", threads=2)
        assert type(found) is dict and all(same(found[name], plain[name]) for name in plain)
    assert set(found) == {*plain, "lora"} and same(found["lora"], normal(30, 20))
    found["lora"].zero_()  # each is a copy of its own, which may be written to
    with pytest.raises(ValueError, match="0 threads"):
        weights.load_file(model, threads=0)


def test_one_tensor_at_a_time(model: Path) -> None:
    with weights.open(model) as file, safe_open(model.with_name("plain.safetensors"), "pt") as plain:
        assert sorted(file.keys()) == sorted([*plain.keys(), "lora"]) and len(file) == 12
        assert file.metadata() == {"format": "pt", "note": "é"} and "large" in file and "absent" not in file
        for name in plain.keys():  # noqa: SIM118
            assert same(file.get_tensor(name), plain.get_tensor(name))
        for read in (file.get_tensor, file.get_slice, file.__getitem__):
            with pytest.raises(KeyError) as caught:
                read("layer.weigth")
            assert isinstance(caught.value, UnknownTensorError)
            words = f"{model}: has no tensor 'layer.weigth'; near it: layer.weight"
            assert str(caught.value).startswith(words)
        with pytest.raises(UnknownTensorError, match="no tensor 'qqq'; it has 12, which"):
            file.get_tensor("qqq")
        assert file.get("qqq") is None
    for use in (lambda: file.get_tensor("large"), lambda: list(file), lambda: len(file), lambda: "large" in file):
        with pytest.raises(ValueError, match="model: is closed"):
            use()
    assert weights.open(model / "b.safetensors").metadata() is None


def test_frameworks(model: Path) -> None:
    with weights.open(model, framework="pt", device=torch.device("cpu")) as file:
        assert same(file.get_tensor("lora"), normal(30, 20))
    with pytest.raises(ValueError, match="framework 'np', expected 'pt'"):
        weights.open(model, framework="np")


def test_state_dicts(model: Path) -> None:
    layer = torch.nn.Linear(256, 300, dtype=torch.bfloat16, bias=False)
    found = weights.state_dict(model)
    layer.load_state_dict({"weight": found["layer.weight"]}, assign=True)
    assert same(layer.weight.data, mixed()["layer.weight"])
    module = torch.nn.Module()
    module.register_buffer("lora", torch.zeros(30, 20, dtype=torch.bfloat16))
    module.load_state_dict(weights.state_dict(model / "b.safetensors"))
    assert same(module.lora, normal(30, 20))


@pytest.mark.parametrize(
    "index",
    [3, -1, slice(5, 9), slice(698, None), slice(9, 5), slice(0, 700, 3), (slice(600, 699), slice(3, 7)), (4, 5), ...,
     (slice(None), 3), (2, slice(None, None, 2)), torch.tensor([5, 3])],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["large", "wide"])
def test_slices(tmp_path: Path, name: str, index: object) -> None:
    tensors = {"large": normal(700, 500), "wide": torch.arange(700 * 5).reshape(700, 5)}
    index = (slice(600, 699), slice(3, 5)) if index == (slice(600, 699), slice(3, 7)) and name == "wide" else index
    index = (4, 4) if index == (4, 5) and name == "wide" else index
    write(tmp_path / "a.safetensors", tensors)
    weights.compress(tmp_path / "a.safetensors", tmp_path / "a.dfloat")
    for path in (tmp_path / "a.safetensors", tmp_path / "a.dfloat"):
        part = weights.open(path).get_slice(name)
        assert part.get_shape() == list(tensors[name].shape) and part.get_dtype() == {"large": "BF16"}.get(name, "I64")
        assert torch.equal(part[index], tensors[name][index])  # type: ignore[index]
        with pytest.raises(IndexError):
            part[700]


def test_slices_of_odd_shapes(model: Path) -> None:
    with weights.open(model) as file:
        assert file.get_slice("scalar")[...].shape == () and file.get_slice("nothing")[:].shape == (0, 7)
        assert torch.equal(file.get_slice("positions")[3:5], torch.tensor([3, 4]))


def test_what_is_wrong(model: Path, tmp_path: Path) -> None:
    save_file({"lora": normal(3, 3)}, model / "c.safetensors")
    with pytest.raises(CorruptStreamError, match=r"c.safetensors: tensor 'lora' is in b.safetensors too"):
        weights.open(model)
    with pytest.raises(UnreadableFileError):
        weights.load_file(tmp_path / "absent")
    with pytest.raises(CorruptStreamError, match="UpstreamCheckpoint"):
        weights.load_file(Path(__file__).parent.parent / "golden" / "dfloat11-upstream")
    plain = tmp_path / "plain.safetensors"
    weights.compress(plain, tmp_path / "delta.dfloat", base=plain)
    with pytest.raises(WeightsMismatchError, match="give the base"):
        weights.load_file(tmp_path / "delta.dfloat")
    assert same(weights.load_file(tmp_path / "delta.dfloat", base=plain)["large"], mixed()["large"])
