# SPDX-License-Identifier: Apache-2.0
"""`isthmus bench information`: bits by channel and place, and labels that tell something."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isthmus.bench.information import Counts, measure
from isthmus.datasets import LatentDataset
from tests.training.heads.conftest import latents


def test_bits_and_labels(
    run: Callable[..., tuple[int, str, str]], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    data = latents(tmp_path_factory.mktemp("data"), 10, 1)
    found = measure(data)
    assert found.samples == 20 and found.labels is not None and found.labels.net.sum() > 20
    assert found.stream_bits == 8 * np.mean([len(data.stream(i)) for i in range(20)])
    assert found.place_bits is not None and found.place_bits.shape == (8, 8)
    # By tables that were counted beforehand it is less than by those that are learned.
    assert 0.8 * found.order0_bits < found.place_bits.sum() < found.order0_bits
    alone = measure(LatentDataset(Path(data.path).parent / "photos" / "rough", codec="walloc-image-f8c12", quality=60))
    assert alone.labels is None and alone.place_bits is None
    status, out, _ = run("bench", "information", data.path, "--out", tmp_path / "made")
    assert status == 0 and "20 samples: " in out and (tmp_path / "made" / "information.png").stat().st_size > 1000
    status, _, err = run("bench", "information", data.path, "--out", tmp_path / "a" / "b")
    assert status == 2 and "does not exist: create it first" in err
    assert json.loads((tmp_path / "made" / "information.json").read_text())["samples"] == 20


def test_counts_grow() -> None:
    counts = Counts(2)
    for y in ([[3, 3], [0, -5]], [[-1, 3], [9, 9]]):
        counts.add(np.array(y))
    assert counts.low == -5 and counts.counts.shape == (2, 15)
    assert counts.counts[0, 8] == 3 and counts.counts[1, [0, 5, 14]].tolist() == [1, 1, 2]
    assert counts.costs(np.array([[3], [-5]]), counts.table()).shape == (2, 1)
