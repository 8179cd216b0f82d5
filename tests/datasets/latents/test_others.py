# SPDX-License-Identifier: Apache-2.0
"""What people have already reads our data sets, without a line of ours but `isthmus.unpack`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import pytest

import isthmus
from tests.datasets.latents.made import Made


def check(made: Made, rows: list[dict[str, Any]]) -> None:
    assert [row["key"] for row in rows] == made.keys
    assert [row["payload"] for row in rows] == made.streams and [row["label"] for row in rows[:4]] == [0, 1, 2, 0]
    assert np.array_equal(isthmus.unpack(rows[7]["payload"]).planes["y"], made.planes[7]["y"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["parquet", "folder", "streaming"])
def test_load_dataset(same: Made, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    if how == "folder":
        found = datasets.load_dataset(str(same.path), split="train", cache_dir=str(tmp_path))
    else:
        found = datasets.load_dataset(
            "parquet", data_dir=str(same.path / "data"), split="train", cache_dir=str(tmp_path),
            streaming=how == "streaming",
        )  # fmt: skip
    check(same, list(found))


def test_pyarrow_alone(same: Made) -> None:
    check(same, pyarrow.dataset.dataset(same.path / "data").to_table().to_pylist())


@pytest.mark.filterwarnings("ignore")
def test_webdataset(tar: Made) -> None:
    wds = pytest.importorskip("webdataset")
    shards = sorted(str(path) for path in (tar.path / "data").glob("*.tar"))
    found = list(wds.WebDataset(shards, shardshuffle=False).decode())
    assert [sample["cls"] for sample in found] == [i % 3 for i in range(30)]
    assert [sample["ist"] for sample in found] == tar.streams
    assert [sample["json"]["key"] for sample in found] == tar.keys


RAY = """
import sys
import ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
rows = ray.data.read_parquet(sys.argv[1]).take_all()
import isthmus
assert len(rows) == 53 and isthmus.unpack(rows[0]["payload"]).planes["y"].shape == (12, 8, 8)
print("read", len({row["key"] for row in rows}))
ray.shutdown()
"""


def test_ray_data(same: Made, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    environment = {**os.environ, "RAY_DATA_DISABLE_PROGRESS_BARS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", RAY, str(same.path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert "read 53" in done.stdout, done.stderr
