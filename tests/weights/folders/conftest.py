# SPDX-License-Identifier: Apache-2.0
"""A folder of a model of transformers, in shards, with what lies about in such folders."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from tests.weights.sample_files import normal

SHARDS = [f"model-0000{k + 1}-of-00002.safetensors" for k in range(2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    root.mkdir()
    for k, shard in enumerate(SHARDS):
        save_file({f"w{k}": normal(200, 100, seed=k), f"b{k}": normal(8, seed=k)}, root / shard)
    names = {f"{kind}{k}": shard for k, shard in enumerate(SHARDS) for kind in "wb"}
    (root / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": names}, indent=2)
    )
    (root / "config.json").write_text(json.dumps({"architectures": ["X"], "model_type": "x"}, indent=2) + "\n")
    save_file({"w0": normal(100, 100, seed=5)}, root / "consolidated.safetensors")
    save_file({"w0": normal(100, 100, seed=6)}, root / "model.fp16.safetensors")
    (root / "tokenizer.json").write_text("{}")
    return root


def content_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
