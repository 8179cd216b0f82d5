# SPDX-License-Identifier: Apache-2.0
"""What a manifest says of planes decides how memory is laid out: it is believed only where it can be so."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.datasets import LatentDataset
from isthmus.datasets.checks import describe, verify
from isthmus.datasets.shards.info import PlaneSums, ShardInfo
from isthmus.errors import CorruptStreamError
from tests.datasets.photos import make_photos
from tests.datasets.test_transcode import run


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifest")
    run(make_photos(folder / "photos", ("a",), 1), folder / "latents")
    return folder / "latents"


@pytest.mark.parametrize("edit", [
    {"planes": {"y": None}}, {"planes": {"y": []}}, {"y": {"dtype": None}}, {"y": {"dtype": []}},
    {"y": {"shape": "x"}}, {"y": {"shape": [-1, 4, 5]}}, {"y": {"shape": [12, 4, 1.5]}}, {"y": {"shape": [10**30, 4]}},
    {"y": {"shape": [1 << 21] * 4}}, {"y": {"mean": 3}}, {"y": {"mean": [1]}}, {"y": {"std": ["x"] * 12}},
    {"y": {"std": None}}, {"y": {"step": [1e999] * 12}}, {"columns": {"key": 3}},
    {"codec": {"tables_hash": [1]}}, {"codec": {"tables_hash": 3}},
], ids=str)  # fmt: skip
def test_what_cannot_be_so(target: Path, edit: dict[str, Any]) -> None:
    path = target / "manifest.json"
    before = path.read_text()
    told = json.loads(before)
    told["planes"]["y"].update(edit.pop("y", {}))
    told.update(edit)
    path.write_text(json.dumps(told))
    try:
        for read in (describe, verify):
            with pytest.raises(CorruptStreamError, match=r"manifest\.json: damaged, or not of a data set"):
                read(target)
    finally:
        path.write_text(before)
    assert verify(target).whole


def test_a_first_shard_without_samples_does_not_hide_the_planes_of_the_others(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", ("b",), 3)
    for number in range(2):
        (photos / "b" / f"+{number}.png").touch()
    assert run(photos, tmp_path / "latents", shard_size=2).count == 3
    data = LatentDataset(tmp_path / "latents")
    first = data[0]["y"]
    assert data.dequantize(first[None], normalize=True).shape == (1, *first.shape)
    assert (data.cache(tmp_path / "cache")[0]["y"] == first).all()


@pytest.mark.parametrize("edit", [
    {"dtype": None}, {"rank": 10**30}, {"rank": -1}, {"rank": "x"}, {"channels": None}, {"low": None}, {"high": 10**30},
    {"numbers": []}, {"numbers": -1}, {"sums": [1]}, {"squares": ["x"] * 2}, {"shape": 3}, {"shape": [2]},
], ids=str)  # fmt: skip
def test_sums_of_a_shard_that_cannot_be_so(edit: dict[str, Any]) -> None:
    plane: dict[str, Any] = {"dtype": "int8", "channels": 2, "rank": 3, "shape": [2, 4, 5], "low": -1, "high": 3,
                             "numbers": 20, "sums": [1, 2], "squares": [3, 4]}  # fmt: skip
    info = ShardInfo(0, "x", "y", "z", planes={"y": PlaneSums(**plane)})
    assert ShardInfo.unpack(info.pack(), "shard") == info
    info.planes["y"] = PlaneSums(**{**plane, **edit})
    with pytest.raises(CorruptStreamError, match="shard: what it says of itself cannot be read"):
        ShardInfo.unpack(info.pack(), "shard")
