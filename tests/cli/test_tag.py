# SPDX-License-Identifier: Apache-2.0
"""`isthmus train tag`, `evaluate` and `predict` of what it made."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.heads.tagging.sounds import heard

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.filterwarnings("ignore:.*have no tags and are left out")
def test_there_and_back(run: Run, tmp_path: Path) -> None:
    data = heard(tmp_path, 4, 1, table=True)
    command = ("train", "tag", data.path, "--tags", "tags", "--validation", data.path, "--out", tmp_path / "run",
               "--workers", "0", "--epochs", "2", "--batch", "3", "--device", "cpu", "--set", "crop=9")  # fmt: skip
    status, out, _ = run(*command)
    assert status == 0 and "validation_map" in out and "head.safetensors" in out
    status, _, err = run(*command, "--set", "rate=1")
    assert status == 2 and "other settings (rate)" in err
    status, out, _ = run("evaluate", tmp_path / "run", data.path)
    assert status == 0 and "mean average precision" in out and "over 6 samples (95 % interval" in out
    status, out, _ = run("evaluate", tmp_path / "run", data.path, "--json")
    assert status == 0 and json.loads(out)["samples"] == 6
    status, out, _ = run("predict", tmp_path / "run", tmp_path / "sounds" / "hum" / "1.wav", "--json")
    assert status == 0 and {"Motor", "Noise", "Tone", "Wind"} < json.loads(out).keys()
    status, _, err = run("train", "tag", data.path, "--tags", "tagz", "--out", tmp_path / "x")
    assert status == 2 and "no column 'tagz'" in err and len(err.splitlines()) == 1
