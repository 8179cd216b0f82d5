# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the DFloat11 layout: those that the dfloat11 package made, our own, and damaged ones."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from isthmus.errors import CorruptStreamError, UnreadableFileError, UnwritableFileError
from isthmus.weights.upstream.checkpoint import UpstreamCheckpoint, UpstreamConfig
from isthmus.weights.upstream.encode import verify_block
from isthmus.weights.upstream.write import to_upstream
from tests.weights.upstream import published_kernel

GOLDEN = Path(__file__).parents[2] / "golden" / "dfloat11-upstream"
PATTERNS = {"embed": [], "head": [], r"layers\.\d+": ["attention.q", "attention.k", "up"]}


def digest(bits: np.ndarray) -> str:
    return hashlib.sha256(bits.tobytes()).hexdigest()


def bits_of(tensor: torch.Tensor) -> np.ndarray:
    return tensor.reshape(-1).view(torch.int16).numpy().view(np.uint16)


def all_weights(checkpoint: UpstreamCheckpoint, threads: int = 1) -> dict[str, np.ndarray]:
    """The bits of every tensor, in one dimension."""
    found = {name: bits_of(checkpoint.tensor(name)) for name in checkpoint.plain}
    for block in checkpoint.blocks():
        names = checkpoint.modules[block.name]
        found |= dict(zip(names, block.matrices(block.decode(threads=threads)), strict=True))
    return found


@pytest.mark.parametrize("threads", [1, 2])
def test_what_the_package_itself_wrote(threads: int) -> None:
    checkpoint = UpstreamCheckpoint(GOLDEN)
    assert list(checkpoint.modules) == ["embed", "head", "layers.0", "layers.1"]
    expected = json.loads((GOLDEN / "sha256.json").read_text())
    assert {name: digest(bits) for name, bits in all_weights(checkpoint, threads).items()} == expected
    assert len(expected) == 14


def test_the_emulated_kernel_reads_what_the_package_wrote() -> None:
    for block in UpstreamCheckpoint(GOLDEN).blocks():
        assert np.array_equal(published_kernel.decode(block), block.decode())


def test_its_gaps_are_verified() -> None:
    for block in UpstreamCheckpoint(GOLDEN).blocks():
        verify_block(block)


def plain_folder(folder: Path) -> dict[str, torch.Tensor]:
    """A checkpoint of two shards, as models are published."""
    checkpoint = UpstreamCheckpoint(GOLDEN)
    tensors = {name: torch.from_numpy(bits.view(np.int16).copy()).view(torch.bfloat16)
               for name, bits in all_weights(checkpoint).items()}  # fmt: skip
    tensors["layers.0.attention.q.weight"] = tensors["layers.0.attention.q.weight"].reshape(80, 48)
    tensors["layers.2.up.weight"] = torch.full((600,), torch.inf, dtype=torch.bfloat16)
    for name in ("layers.2.attention.q.weight", "layers.2.attention.k.weight", "layers.3.up.weight"):
        tensors[name] = tensors["embed.weight"][:48].clone()
    tensors["layers.3.attention.q.weight"] = torch.zeros(7)
    tensors["layers.3.attention.k.weight"] = torch.zeros(7, dtype=torch.int64)
    folder.mkdir()
    names = sorted(tensors)
    for shard, part in enumerate((names[:8], names[8:]), 1):
        save_file({name: tensors[name] for name in part}, folder / f"model-0000{shard}-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    (folder / "config.json").write_text('{"model_type": "test"}')
    (folder / "tokenizer.json").write_text("{}")
    return tensors


def test_a_folder_both_ways(tmp_path: Path) -> None:
    tensors = plain_folder(tmp_path / "plain")
    report = to_upstream(tmp_path / "plain", tmp_path / "deep" / "made", PATTERNS, threads=2)
    assert report.compressed == ("embed", "layers.0", "layers.1")
    assert report.kept["head"] == "would not shrink"  # 1,584 weights, and 1 KB of luts
    assert "infinite" in report.kept["layers.2"] and report.kept["layers.3"] == "torch.float32, not bfloat16"
    checkpoint = UpstreamCheckpoint(tmp_path / "deep" / "made")
    found = {}
    for block in checkpoint.blocks():
        found |= dict(zip(checkpoint.modules[block.name], block.matrices(published_kernel.decode(block)), strict=True))
    for name in checkpoint.plain:
        assert torch.equal(checkpoint.tensor(name), tensors[name])
    assert set(checkpoint.plain) | set(found) == set(tensors)
    assert all(np.array_equal(bits, bits_of(tensors[name])) for name, bits in found.items())
    sizes = [path.stat().st_size for path in (tmp_path / "deep" / "made").glob("*.safetensors")]
    assert report.bytes_after < sum(sizes) < report.bytes_after + 5000
    assert report.bytes_before == sum(tensor.nbytes for tensor in tensors.values())
    files = {path.name for path in (tmp_path / "deep" / "made").iterdir() if path.suffix != ".safetensors"}
    assert files == {"config.json", "tokenizer.json"}
    config = json.loads((tmp_path / "deep" / "made" / "config.json").read_text())
    ours, theirs = config["dfloat11_config"], json.loads((GOLDEN / "config.json").read_text())["dfloat11_config"]
    assert config["model_type"] == "test" and ours == theirs
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]


def test_our_fields_are_those_of_the_package(tmp_path: Path) -> None:
    plain_folder(tmp_path / "plain")
    to_upstream(tmp_path / "plain", tmp_path / "made", PATTERNS)
    ours, theirs = load_file(tmp_path / "made" / "layers_0.safetensors"), load_file(GOLDEN / "layers_0.safetensors")
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype and tensor.ndim == theirs[name].ndim
    for field in ("sign_mantissa", "split_positions"):
        assert torch.equal(ours[f"layers.0.{field}"], theirs[f"layers.0.{field}"])
    # Codes of equal lengths may be dealt out in another order, which moves bits, but not their number.
    assert ours["layers.0.encoded_exponent"].shape == theirs["layers.0.encoded_exponent"].shape


def test_a_single_file(tmp_path: Path) -> None:
    tensors = {}
    for path in GOLDEN.glob("*.safetensors"):
        tensors |= load_file(path)
    save_file(tensors, tmp_path / "one.safetensors")
    checkpoint = UpstreamCheckpoint(tmp_path / "one.safetensors", PATTERNS)
    assert {name: digest(bits) for name, bits in all_weights(checkpoint).items()} == json.loads(
        (GOLDEN / "sha256.json").read_text()
    )


def damage(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> UpstreamCheckpoint:
    """The golden checkpoint with the tensors of one file changed."""
    shutil.copytree(GOLDEN, folder)
    tensors = load_file(folder / "layers_1.safetensors")
    change(tensors)
    save_file(tensors, folder / "layers_1.safetensors")
    return UpstreamCheckpoint(folder)


@pytest.mark.parametrize("field", ["luts", "sign_mantissa", "output_positions", "gaps", "split_positions"])
def test_a_field_that_is_missing_or_cut(field: str, tmp_path: Path) -> None:
    name = f"layers.1.{field}"
    missing = damage(tmp_path / "missing", lambda tensors: tensors.pop(name))
    with pytest.raises(CorruptStreamError, match=rf"module layers\.1 lacks {field}"):
        missing.modules  # noqa: B018
    cut = damage(tmp_path / "cut", lambda tensors: tensors.update({name: tensors[name][:-1].clone()}))
    with pytest.raises(CorruptStreamError, match=r"^layers\.1: "):
        cut.block("layers.1").decode()
    cut.block("layers.0").decode()


def test_a_module_without_a_pattern(tmp_path: Path) -> None:
    checkpoint = damage(tmp_path / "a", lambda t: t.update({"other.encoded_exponent": torch.zeros(1)}))
    with pytest.raises(CorruptStreamError, match="module other is compressed, but no pattern"):
        checkpoint.modules  # noqa: B018


def test_the_same_tensor_twice(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "a")
    shutil.copyfile(GOLDEN / "head.safetensors", tmp_path / "a" / "again.safetensors")
    with pytest.raises(CorruptStreamError, match="tensor head.* is in .* and in another file"):
        UpstreamCheckpoint(tmp_path / "a")


def test_a_truncated_file(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "a")
    data = (GOLDEN / "embed.safetensors").read_bytes()
    for length in (0, 7, 100, len(data) - 1):
        (tmp_path / "a" / "embed.safetensors").write_bytes(data[:length])
        with pytest.raises(CorruptStreamError, match=r"embed\.safetensors: "):
            UpstreamCheckpoint(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bytes_per_thread": 16}, "bytes_per_thread is 16, expected 8"),
        ({"threads_per_block": 512}, "threads_per_block is 512"),
        ({"threads_per_block": [True]}, "threads_per_block is .True"),
        ({"pattern_dict": []}, "pattern_dict is list"),
        ({"pattern_dict": {"a": "b"}}, "pattern_dict.'a'. is 'b'"),
        ({"pattern_dict": {"(": []}}, "no regular expression"),
        ({"pattern_dict": {"(a+)+b": []}}, "could take for ever"),
        ({"pattern_dict": {"(?=a)": []}}, "could take for ever"),
        ({"pattern_dict": {r"(a)\1": []}}, "could take for ever"),
        ({"pattern_dict": {".*" * 4: []}}, "could take for ever"),
        ({"pattern_dict": {"(a|a)" * 7: []}}, "could take for ever"),
        ({"pattern_dict": {"a" * 301: []}}, "could take for ever"),
        ({"pattern_dict": {"x": []}}, "no pattern names"),
        (
            {"pattern_dict": PATTERNS | {r"layers\.\d+": ["up"]}},
            "split_positions part it in 3, but its pattern names 1",
        ),
        ({"threads_per_block": [256]}, "embed: output_positions have"),
    ],
)
def test_another_config(change: dict[str, object], words: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "a")
    config = json.loads((GOLDEN / "config.json").read_text())["dfloat11_config"]
    (tmp_path / "a" / "config.json").write_text(json.dumps({"dfloat11_config": config | change}))
    with pytest.raises(CorruptStreamError, match=words):
        list(UpstreamCheckpoint(tmp_path / "a").blocks())


def test_patterns_as_they_are_published() -> None:
    config = json.loads((GOLDEN / "config.json").read_text())["dfloat11_config"]
    for pattern, module in [
        (r"model\.layers\.\d+", "model.layers.31"),
        (r"single_transformer_blocks\.\d+", "single_transformer_blocks.7"),
        (r"(?:model|language_model)\.layers\.(0|[1-9]\d*)", "language_model.layers.12"),
        (r"blocks\.[0-9]+\.(attn|mlp)\.?.*", "blocks.3.attn.q"),
    ]:
        read = UpstreamConfig.from_json(config | {"pattern_dict": {pattern: ["q", "k"]}}, "test")
        assert read.weights_of(module) == (f"{module}.q.weight", f"{module}.k.weight")
        assert read.weights_of("other") is None and read.weights_of(module + "x" * 300) is None


def test_folders_that_are_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"no config\.json"):
        UpstreamCheckpoint(tmp_path)
    for text, words in (("{", "no JSON"), ("[" * 100_000, "no JSON"), ("[]", "no dfloat11_config"),
                        (" " * (1 << 25), "longer than"), ('{"dfloat11_config": 3}', "is int")):  # fmt: skip
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CorruptStreamError, match=words):
            UpstreamCheckpoint(tmp_path)
    shutil.copyfile(GOLDEN / "config.json", tmp_path / "config.json")
    with pytest.raises(UnreadableFileError, match="no .safetensors file"):
        UpstreamCheckpoint(tmp_path)
    with pytest.raises(UnreadableFileError, match="nowhere"):
        UpstreamCheckpoint(tmp_path / "nowhere.safetensors", PATTERNS)


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    plain_folder(tmp_path / "plain")
    with pytest.raises(UnwritableFileError, match="is there already"):
        to_upstream(tmp_path / "plain", tmp_path, PATTERNS)
    with pytest.raises(UnreadableFileError, match="empty: cannot be read: No such file"):
        to_upstream(tmp_path / "empty", tmp_path / "made", PATTERNS)
    with pytest.raises(ValueError, match=r"head: its pattern names head\.up\.weight"):
        to_upstream(tmp_path / "plain", tmp_path / "made", {"head": ["up"]})
    with pytest.raises(UnwritableFileError, match="made"):
        to_upstream(tmp_path / "plain", tmp_path / "plain" / "config.json" / "made", PATTERNS)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]
