# SPDX-License-Identifier: Apache-2.0
"""Rows to shards and back, what shards say of themselves, and what is not believed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from isthmus.datasets import shards
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.shards import of_format, read_info, shard_name
from isthmus.datasets.shards.info import PlaneSums, ShardInfo
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, UnreadableFileError

COLUMNS = {
    "key": "string",
    "payload": "binary",
    "view": "string",
    "label": "int64",
    "height": "int32",
    "note": "string",
}
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


def info(count: int) -> ShardInfo:
    return ShardInfo(3, "codec.r1", "0" * 16, "1" * 16, count, [("ünreadable", "why")], 5, 6, {"y": sums([[[1, -2]]])})


def sums(values: Any) -> PlaneSums:
    return PlaneSums.of(np.array([values], np.int16))


@pytest.mark.parametrize("format", ["parquet", "tar"])
@settings(deadline=None)
@given(keys=st.lists(KEYS, unique=True, max_size=8), data=st.data())
def test_there_and_back(format: str, keys: list[str], data: st.DataObject) -> None:
    rows = [
        {"key": key, "payload": data.draw(st.binary(max_size=40)), "view": "hflip" if place % 2 else "",
         "label": data.draw(st.none() | st.integers(0, 2**40)), "height": place, "note": data.draw(st.none() | KEYS)}
        for place, key in enumerate(keys)
    ]  # fmt: skip
    place, name = Place("memory://shards"), shard_name(3, format)
    place.write(name, of_format(format).write(rows, COLUMNS, info(len(rows))))
    assert read_info(place, name) == info(len(rows))
    assert list(shards.rows(place, name)) == rows


@pytest.mark.filterwarnings("ignore")  # of webdataset itself
def test_tars_are_webdataset(tmp_path: Path) -> None:
    import webdataset

    place = Place(tmp_path)
    rows = [{"key": f"a.b/{n}.x.jpg", "payload": b"p" * n, "view": "", "label": n} for n in range(3)]
    place.write(shard_name(0, "tar"), of_format("tar").write(rows, COLUMNS, info(3)))
    found = list(webdataset.WebDataset(str(tmp_path / shard_name(0, "tar")), shardshuffle=False))
    assert [sample["ist"] for sample in found] == [b"", b"p", b"pp"]
    assert [int(sample["cls"]) for sample in found] == [0, 1, 2]
    assert [json.loads(sample["json"])["key"] for sample in found] == [row["key"] for row in rows]


@settings(deadline=None)
@given(npst.arrays(np.int16, npst.array_shapes(min_dims=3, max_dims=4, min_side=1, max_side=4)), st.integers(0, 4))
def test_sums_are_exact_in_any_order(values: np.ndarray, cut: int) -> None:
    cut = min(cut, len(values))
    whole = PlaneSums.of(values)
    parts = [PlaneSums.of(part) for part in (values[:cut], values[cut:])]
    assert parts[0].merged(parts[1]) == parts[1].merged(parts[0]) == whole
    told, wide = whole.describe(), np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).astype(np.float64)
    np.testing.assert_allclose(told["mean"], wide.mean(1), atol=1e-9)
    np.testing.assert_allclose(told["std"], wide.std(1), atol=1e-6)
    assert np.iinfo(told["dtype"]).min <= values.min() and values.max() <= np.iinfo(told["dtype"]).max


def test_planes_of_other_channels_have_no_means() -> None:
    both = sums([[1, 2], [3, 4]]).merged(sums([[5, 6]]))
    assert both.describe()["mean"] is None and (both.low, both.high) == (1, 6)
    assert both.merged(sums([[7]])).high == 7


@pytest.mark.parametrize("format", ["parquet", "tar"])
def test_damage_is_refused(format: str, tmp_path: Path) -> None:
    place, name = Place(tmp_path), shard_name(0, format)
    rows = [{"key": str(n), "payload": bytes(300), "view": ""} for n in range(3)]
    whole = of_format(format).write(rows, COLUMNS, info(3)).getvalue()
    for cut in (0, 10, len(whole) // 2, len(whole) - 9000 if format == "tar" else len(whole) - 1):
        place.write(name, whole[:cut])
        with pytest.raises(CorruptStreamError):
            read_info(place, name)
            list(shards.rows(place, name))
    place.write(name, of_format(format).write(rows, COLUMNS, info(4)).getvalue())
    with pytest.raises(CorruptStreamError, match="it says 4"):
        read_info(place, name)
        list(shards.rows(place, name))
    with pytest.raises(UnreadableFileError):
        read_info(place, shard_name(1, format))


def listed(file: str, count: int = 0) -> dict[str, Any]:
    return {"shards": [{"file": file, "count": count, "bytes": 0, "sha256": ""}]}


LIES = [{"isthmus": 2}, {"count": 3}, {"kind": 3}, {"more": 1}, {"shards": 3}, {"settings": {"format": "zip"}}]
LIES += [listed("../../etc/passwd"), listed("data/x", -1), listed("data/.x")]


@pytest.mark.parametrize("change", LIES)
def test_manifests_are_not_believed(change: dict[str, Any], tmp_path: Path) -> None:
    place = Place(tmp_path)
    Manifest("image", {}, {"format": "parquet"}).write(place)
    assert Manifest.read(place).settings == {"format": "parquet"}
    told = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**told, **change}))
    with pytest.raises(CorruptStreamError):
        Manifest.read(place)
    for text in ("", "[]", "{", "null", "[" * 100_000):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(CorruptStreamError):
            Manifest.read(place)
