# SPDX-License-Identifier: Apache-2.0
"""Two processes of torchrun train one head."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from isthmus.datasets import LatentDataset
from isthmus.training.heads import load_head

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "isthmus")


def run(*command: object) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*TORCHRUN, *map(str, command)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("head.safetensors") == 1  # one of them speaks and writes


def test_two_processes(train: LatentDataset, tmp_path: Path) -> None:
    run(
        "train", "classify", train.path, "--validation", train.path, "--out", tmp_path, "--device", "cpu",
        "--workers", "0", "--epochs", "1", "--batch", "16", "--set", "accumulate=2", "--minutes", "9",
        "--set", "mixing=none", "--set", "flip=0",
    )  # fmt: skip
    _, facts = load_head(tmp_path)
    assert facts.results["steps"] == 3 and "validation" in facts.results
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["0", "3"]


def test_two_processes_teach_a_backbone(train: LatentDataset, tmp_path: Path) -> None:
    photos = Path(train.path).parent / "photos"
    tiny = ("size=64", "resize=64", "tuning=2", "features=1", "steps=2", "warmup=1")
    settings = [part for setting in tiny for part in ("--set", setting)]
    run(
        "train", "adapter", photos, "--validation", photos, "--out", tmp_path, "--device", "cpu", "--workers", "0",
        "--batch", "8", *settings,
    )  # fmt: skip
    _, facts = load_head(tmp_path)
    assert facts.head == "adapter:efficientnet" and "accuracy_50" in facts.results
