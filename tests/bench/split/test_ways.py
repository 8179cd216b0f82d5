# SPDX-License-Identifier: Apache-2.0
"""Ways to share a network beside each other, and what links make of them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus.bench.split import compare_ways
from isthmus.bench.split.latency import BANDWIDTHS, Latency, crossing, latencies
from isthmus.bench.split.measure import STEPS, Measured
from isthmus.bench.split.ways import Alone, Pictures
from isthmus.models.backbones import load_backbone
from isthmus.split.link import Link
from isthmus.training.split import train_split
from tests.split.conftest import run_folder
from tests.training.heads.conftest import photos
from tests.training.split.test_split import TINY

__all__ = ["run_folder"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and photographs of its classes."""
    folder = tmp_path_factory.mktemp("ways")
    photographs = photos(folder / "photos", 3, 2)
    train_split(photographs, TINY, folder / "run")
    return folder / "run", photographs


def test_a_comparison(trained: tuple[Path, Path], run: Run, tmp_path: Path) -> None:
    folder, photographs = trained
    status, out, err = run("bench", "split", folder, photographs, "--timed", "1", "--out", tmp_path / "bench")
    assert status == 0, err
    assert (
        "top-1 %" in out and "device alone" in out and "raw pixels" in out and (tmp_path / "bench/split.png").exists()
    )
    told = json.loads((tmp_path / "bench" / "split.json").read_text())
    ways = {f"{one['way']} {one['setting']}".strip(): one for one in told["ways"]}
    assert ways["raw pixels as they are"]["bytes"] == 64 * 64 * 3 + 4 and ways["device alone"]["bytes"] == 0
    assert ways["device alone"]["accuracy"] == ways["raw pixels as they are"]["accuracy"]
    assert ways["split quality 1"]["bytes"] < ways["split quality 100"]["bytes"]
    assert ways["raw pixels as they are"]["gain"] == 0 and len(told["latency"]["bandwidths"]) == 13
    assert told["latency"]["ways"][0]["way"] == "split"


def test_a_run_without_its_teacher(trained: tuple[Path, Path], run_folder: Path, tmp_path: Path) -> None:
    folder, photographs = trained
    for name in ("head.safetensors", "codec.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    found = compare_ways(tmp_path, str(photographs), timed=1, most=2)
    assert found.whole.judged is None and found.count == 2 and found.shown[0].way.setting == "quality 50"
    assert compare_ways(tmp_path, None, timed=1).count == 16
    with pytest.raises(ValueError, match="a convnext-s has no whole network"):
        compare_ways(run_folder, None)


def test_what_links_make_of_it() -> None:
    backbone = load_backbone("efficientnet", 2, pretrained=False)
    seconds = np.tile(np.array([[0.01], [0.001], [0.001], [0.02]]), 3)
    large = Measured(Pictures(backbone, "raw pixels"), seconds, np.full(3, 150_000), None)
    small = Measured(Pictures(backbone, "JPEG", 50), seconds + 0.02, np.full(3, 3_000), None)
    alone = Measured(Alone(backbone), seconds, np.zeros(3, np.int64), None)
    link = Link(1e6, 0.04, seed=1)
    one, other, local = (latencies(way, link) for way in (small, large, alone))
    assert np.allclose(local.p50, seconds.sum(0)[0]) and (np.diff(one.p50) <= 0).all() and len(STEPS) == 4
    assert other.p50[0] > 150_000 * 8 / BANDWIDTHS[0]
    place = crossing(one, other)
    assert place is not None and BANDWIDTHS[0] < place < BANDWIDTHS[-1] and crossing(other, one) is None
    slow = latencies(alone, link, slower=10)
    assert np.allclose(slow.p50, 0.11 + 0.021)
    assert isinstance(one, Latency) and torch.get_num_threads() > 0
