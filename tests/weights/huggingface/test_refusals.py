# SPDX-License-Identifier: Apache-2.0
"""Compressed folders that transformers must not load."""

from pathlib import Path

import pytest

from isthmus import weights  # noqa: F401  # connects transformers
from isthmus.errors import CorruptStreamError
from tests.weights.huggingface.folders import llama, save

AUTO = pytest.importorskip("transformers").AutoModelForCausalLM


@pytest.mark.parametrize("name", ["../model.dfloat", "/model.dfloat", "sub/../../model.dfloat"])
def test_an_index_that_names_files_elsewhere(name: str, tmp_path: Path) -> None:
    _, df = save(llama(), tmp_path)
    index = df / "model.dfloat.safetensors.index.json"
    index.write_text(index.read_text().replace('"model.dfloat"', f'"{name}"'))
    with pytest.raises(CorruptStreamError, match="is no file name within the folder"):
        AUTO.from_pretrained(df)


def test_plain_weights_beside_compressed_ones(tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    (df / "model.safetensors").write_bytes((plain / "model.safetensors").read_bytes())
    with pytest.raises(CorruptStreamError, match=r"model\.safetensors: lies beside model\.dfloat"):
        AUTO.from_pretrained(df)


def test_a_format_of_tomorrow(tmp_path: Path) -> None:
    _, df = save(llama(), tmp_path)
    config = (df / "config.json").read_text().replace("dfloat.1", "dfloat.9")
    (df / "config.json").write_text(config)
    with pytest.raises(ValueError, match="weights of format 'dfloat.9', expected 'dfloat.1'; update isthmus"):
        AUTO.from_pretrained(df)
