# SPDX-License-Identifier: Apache-2.0
"""Compressed folders say what they are, in an index and the config, and come back byte for byte."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from isthmus import weights
from isthmus.weights.folders.config import INDEX, mark_config, restore_config
from tests.weights.folders.conftest import content_of
from tests.weights.sample_files import normal

QUANTIZATION = {"quant_method": "isthmus-dfloat", "format": "dfloat.1"}
CONFIGS = [
    b'{\n  "architectures": ["X"],\n  "model_type": "x"\n}\n',
    b'{"model_type":"x"}',
    b'\xef\xbb\xbf{\r\n\t"model_type": "x", "n": {"transformers_weights": 3}}',
    b' { "architectures": [], "quantization_config": {"quant_method": "fp8"} }',
    b'{"model_type": "x", "quantization_config": null}',
    b'{"text_config": {"transformers_weights": "a"}, "transformers_weights" : "consolidated.safetensors", '
    b'"model_type": "\\"transformers_weights\\":"}',
]


@pytest.mark.parametrize("raw", CONFIGS)
def test_configs_come_back(raw: bytes) -> None:
    marked = mark_config(raw)
    before, after = json.loads(raw.decode("utf-8-sig")), json.loads(marked.decode("utf-8-sig"))
    assert restore_config(marked) == raw == restore_config(raw)
    assert after.pop("transformers_weights") == INDEX
    after.pop("dfloat_quantization_config", None)
    assert after.pop("quantization_config") == (before.pop("quantization_config", None) or QUANTIZATION)
    assert after.pop("dfloat_transformers_weights", None) == before.pop("transformers_weights", None)
    assert after == before


def test_configs_that_another_program_rewrote() -> None:
    marked = json.loads(mark_config(CONFIGS[0]))
    assert json.loads(restore_config(json.dumps(marked).encode())) == json.loads(CONFIGS[0])
    del marked["transformers_weights"]  # as save_pretrained does
    assert json.loads(restore_config(json.dumps(marked).encode())) == json.loads(CONFIGS[0])


def test_there_and_back(folder: Path) -> None:
    packed, back = folder.with_name("packed"), folder.with_name("back")
    weights.compress(folder, packed)
    assert not list(packed.glob("*.safetensors")) and len(list(packed.glob("*.dfloat"))) == 4
    config = json.loads((packed / "config.json").read_text())
    assert config["quantization_config"] == QUANTIZATION and config["transformers_weights"] == INDEX
    index = json.loads((packed / INDEX).read_text())
    assert index["metadata"]["total_size"] == 2 * (40_000 + 16)
    assert index["weight_map"] == {f"{t}{k}": f"model-0000{k + 1}-of-00002.dfloat" for k in (0, 1) for t in "wb"}
    source = content_of(folder)
    assert content_of(packed)["model.safetensors.index.json"] == source["model.safetensors.index.json"]
    first = content_of(packed)
    weights.compress(folder, packed)
    assert content_of(packed) == first
    weights.decompress(packed, back)
    assert content_of(back) == source


def test_a_single_file_is_preferred(folder: Path) -> None:
    save_file({"only": normal(64, 64)}, folder / "model.safetensors")
    weights.compress(folder, folder.with_name("packed"))
    index = json.loads((folder.with_name("packed") / INDEX).read_text())
    assert index == {"metadata": {"total_size": 8192}, "weight_map": {"only": "model.dfloat"}}


def test_the_weights_that_the_config_names(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"model_type": "x", "transformers_weights": "consolidated.safetensors"}')
    weights.compress(folder, folder.with_name("packed"))
    assert json.loads((folder.with_name("packed") / INDEX).read_text())["weight_map"] == {"w0": "consolidated.dfloat"}
    weights.decompress(folder.with_name("packed"), folder.with_name("back"))
    assert content_of(folder.with_name("back")) == content_of(folder)


def test_parts_of_a_pipeline(folder: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    (pipe / "vae").mkdir(parents=True)
    folder.rename(pipe / "text_encoder")
    (pipe / "vae" / "config.json").write_text('{"_class_name": "Vae"}')
    (pipe / "config.json").write_text("not JSON")
    save_file({"v": normal(64, 64)}, pipe / "vae" / "diffusion_pytorch_model.safetensors")
    weights.compress(pipe, tmp_path / "packed")
    assert sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "packed").rglob(INDEX)) == [
        f"packed/text_encoder/{INDEX}"
    ]
    assert (tmp_path / "packed" / "vae" / "config.json").read_text() == '{"_class_name": "Vae"}'
    weights.decompress(tmp_path / "packed", tmp_path / "back")
    assert content_of(tmp_path / "back") == content_of(pipe)
    assert {row.name for row in weights.inspect(tmp_path / "packed")} == {"v", "w0", "w1", "b0", "b1"}


def test_folders_of_an_earlier_version(folder: Path, tmp_path: Path) -> None:
    old, back = tmp_path / "old", tmp_path / "back"
    weights.compress(folder, tmp_path / "new")
    old.mkdir()
    for name, data in content_of(tmp_path / "new").items():
        (old / name.replace(".dfloat", ".safetensors")).write_bytes(data)
    (old / INDEX.replace(".dfloat", ".safetensors")).unlink()
    (old / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert len(weights.verify(old)) == 4
    weights.decompress(old, back)
    assert content_of(back) == content_of(folder)
    weights.compress(old, in_place=True)
    assert content_of(old) == content_of(tmp_path / "new")
