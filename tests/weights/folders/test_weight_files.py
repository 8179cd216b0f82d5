# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are the model's, and indexes that are not to be trusted."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from isthmus import weights
from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.weights.folders.config import INDEX
from tests.weights.folders.conftest import SHARDS
from tests.weights.sample_files import normal


def names(folder: Path) -> list[str]:
    return [path.name for path in weights.weight_files(folder)]


def test_in_this_order(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    weights.compress(folder, packed)
    ours = [name.replace(".safetensors", ".dfloat") for name in SHARDS]
    assert names(folder) == SHARDS and names(packed) == ours
    (packed / INDEX).unlink()
    assert names(packed) == ours  # the original index calls them .safetensors
    save_file({"only": normal(8, 8)}, folder / "model.safetensors")
    assert names(folder) == ["model.safetensors"]
    for path in [*packed.glob("*.json"), packed / ours[0]]:
        path.unlink()
    save_file({"lora": normal(8, 8)}, packed / "adapter_model.safetensors")
    assert names(packed) == ["adapter_model.safetensors", "consolidated.dfloat", ours[1], "model.fp16.dfloat"]
    save_file({"v": normal(8, 8)}, packed / "diffusion_pytorch_model.safetensors")
    assert names(packed) == ["diffusion_pytorch_model.safetensors"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "no index: "),
        (b"[]", "expected a JSON object with a weight_map"),
        (b'{"weight_map": ["a"]}', "expected a JSON object with a weight_map"),
        (b'{"weight_map": {"a": 3}}', "expected a JSON object with a weight_map"),
        (b'{"weight_map": {"a": "/etc/x.safetensors"}}', "no file name within the folder"),
        (b'{"weight_map": {"a": "sub/../../x.safetensors"}}', "no file name within the folder"),
        (b'{"weight_map": {"a": "C:\\\\x.safetensors"}}', "no file name within the folder"),
        (b'{"weight_map": {"a": ""}}', "no file name within the folder"),
        (b'{"weight_map": {"a": "absent.safetensors"}}', "shard absent.safetensors is not there"),
    ],
)
def test_indexes_that_are_wrong(folder: Path, content: bytes, words: str) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_bytes(content)
    for work in (weights.weight_files, weights.inspect, lambda src: weights.compress(src, folder.with_name("x"))):
        with pytest.raises(CorruptStreamError) as caught:
            work(folder)
        assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value)
    assert not folder.with_name("x").exists()


def test_indexes_of_any_name_are_checked(folder: Path) -> None:
    for name in ("model.safetensors.index.fp16.json", "other.index.json"):
        (folder / name).write_text(json.dumps({"weight_map": {"w": "model.fp16-00002.safetensors"}}))
        with pytest.raises(CorruptStreamError, match=r"model.fp16-00002.safetensors is not there"):
            weights.compress(folder, folder.with_name("x"))
        (folder / name).unlink()
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"w": "pytorch_model-1.bin"}}')
    (folder / "faiss.index.json").write_text("[1, 2]")
    weights.compress(folder, folder.with_name("x"))


def test_no_weights(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UnreadableFileError):
            weights.weight_files(path)


def test_pickles_are_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(UnreadableFileError, match=r"convert it .* python -c .*torch.load.*save_file") as caught:
        weights.compress(tmp_path, tmp_path.with_name("x"))
    compile(str(caught.value).split('python -c "')[1].removesuffix('"'), "command", "exec")
    (tmp_path / "config.json").write_text('{"architectures": ["X"]}')
    with pytest.raises(UnreadableFileError, match=r"AutoConfig.*save_pretrained") as caught:
        weights.compress(tmp_path, tmp_path.with_name("x"))
    compile(str(caught.value).split('python -c "')[1].removesuffix('"'), "command", "exec")


def test_the_base_of_a_delta(folder: Path, tmp_path: Path) -> None:
    weights.compress(folder, tmp_path / "delta", base=folder)
    delta = weights.WeightFile(tmp_path / "delta" / "model-00001-of-00002.dfloat", base=folder)
    assert delta.source["delta"] == {"w0": SHARDS[0]} and delta.source["base"].keys() == {SHARDS[0]}
    weights.decompress(tmp_path / "delta", tmp_path / "back", base=folder)
    assert (tmp_path / "back" / SHARDS[0]).read_bytes() == (folder / SHARDS[0]).read_bytes()
    (folder / "model.safetensors.index.json").unlink()
    save_file({"w0": normal(9)}, folder / "model.safetensors")  # what was the base is not the model any more
    weights.verify(tmp_path / "delta", base=folder)
