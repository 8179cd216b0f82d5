# SPDX-License-Identifier: Apache-2.0
"""Two processes of torchrun train one head."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from isthmus.datasets import LatentDataset
from isthmus.training.heads import load_head


def test_two_processes(train: LatentDataset, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "isthmus",
        "train", "classify", train.path, "--validation", train.path, "--out", tmp_path, "--device", "cpu",
        "--workers", "0", "--epochs", "1", "--batch", "16", "--set", "accumulate=2",
        "--set", "mixing=none", "--set", "flip=0",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("head.safetensors") == 1  # one of them speaks and writes
    _, facts = load_head(tmp_path)
    assert facts.results["steps"] == 3 and "validation" in facts.results
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["0", "3"]
