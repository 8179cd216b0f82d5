# SPDX-License-Identifier: Apache-2.0
"""Shards that were cut or changed, and manifests that lie: one clear line, when they are opened."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.datasets import LatentDataset
from isthmus.datasets.latents.stored.pages import Chunk, plain, value_places
from isthmus.datasets.latents.stored.ranges import Ranges
from isthmus.datasets.latents.stored.shard import ParquetShard
from isthmus.datasets.latents.stored.thrift import read_struct
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, IsthmusError
from tests.datasets.latents.made import Made

FIRST = "data/shard-00000.parquet"


def change(made: Made, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = made.path / "manifest.json"
    told = json.loads(path.read_text())
    edit(told)
    path.write_text(json.dumps(told))


def read_all(path: Path, **options: Any) -> list[Any]:
    data = LatentDataset(path, **options)
    return list(data.__getitems__(range(len(data))))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["shards"][0].update(bytes=7), r"shard-00000\.parquet: \d+ bytes, the manifest says 7: it was cut"),
        (lambda m: m["shards"][0].update(file="data/x.parquet"), r"x\.parquet: .* names it, and it is not there"),
        (lambda m: m["shards"][0].update(file="../x/y.parquet"), r"damaged, or not of a data set"),
        (lambda m: m["shards"][0].update(file=m["shards"][3]["file"], bytes=m["shards"][3]["bytes"]),
         r"5 rows of settings \w+, the manifest says 16"),
        (lambda m: m["settings"].update(resize=3), r"16 rows of settings \w+, .* says 16 of \w+: one of them"),
        (lambda m: m["codec"].update(tables_hash={}), "does not say which tables"),
        (lambda m: m["codec"].update(tables_hash={"walloc.1": "00000000"}), "neither ship"),
        (lambda m: m["columns"].update(caption="string"), None),
        (lambda m: m.update(count=54), r"54 samples, its shards have 53"),
        (lambda m: m.update(isthmus=2), "version 2"),
        (lambda m: m.update(planes={}), None),
        (lambda m: m["planes"]["y"].update(dtype="float32"), "plane y: dtype is none of"),
        (lambda m: m.pop("shards"), "damaged"),
    ],
)  # fmt: skip
def test_a_manifest_that_lies(copied: Made, edit: Callable[[dict[str, Any]], Any], message: str | None) -> None:
    change(copied, edit)
    if message is None:
        assert len(read_all(copied.path)) == 53
        return
    with pytest.raises(IsthmusError, match=message) as raised:
        read_all(copied.path)
    assert "\n" not in str(raised.value)


def test_a_column_that_the_manifest_makes_up(copied: Made) -> None:
    change(copied, lambda m: m["columns"].update(caption="string"))
    with pytest.raises(CorruptStreamError, match=r"shard-00000\.parquet: no column 'caption', it has key"):
        read_all(copied.path, columns=["caption"])


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_a_shard_that_was_cut(copied: Made, length: int) -> None:
    path = copied.path / FIRST
    data = path.read_bytes()[:length]
    path.write_bytes(data)
    with pytest.raises(CorruptStreamError, match=r"shard-00000\.parquet: \d+ bytes, the manifest says \d+: it was cut"):
        read_all(copied.path)
    change(copied, lambda m: m["shards"][0].update(bytes=len(data)))
    with pytest.raises(CorruptStreamError, match=r"shard-00000\.parquet: not a whole Parquet file"):
        read_all(copied.path)


def test_a_shard_that_is_cut_while_it_is_open(copied: Made) -> None:
    """An error, not the end of the process."""
    data = LatentDataset(copied.path)
    data[0]
    path = copied.path / FIRST
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CorruptStreamError, match="bytes too early: it was cut after it was opened"):
        data.__getitems__(range(16))


def test_a_byte_that_changed_names_its_row(copied: Made) -> None:
    path = copied.path / FIRST
    whole = bytearray(path.read_bytes())
    at = whole.index(copied.streams[5])
    whole[at + 40] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CorruptStreamError, match=r"shard-00000\.parquet, row 5: .*checksum"):
        read_all(copied.path)
    assert LatentDataset(copied.path)[6]["key"] == copied.keys[6]
    whole[at - 4] ^= 3  # its length
    path.write_bytes(whole)
    with pytest.raises(CorruptStreamError, match=r"shard-00000\.parquet: the lengths of payloads .* do not add up"):
        read_all(copied.path)


def refused_or_right(made: Made) -> None:
    try:
        samples = LatentDataset(made.path).__getitems__(range(16))
    except IsthmusError:
        return
    for sample, planes in zip(samples, made.planes, strict=False):
        assert np.array_equal(sample["y"], planes["y"])


def test_any_byte_that_changes_is_an_error_or_harmless(copied: Made) -> None:
    """Of the whole file: pages, footer, metadata; pyarrow's own errors are told as ours."""
    path, chance = copied.path / FIRST, random.Random(4)
    whole = path.read_bytes()
    places = [chance.randrange(len(whole)) for _ in range(150)] + list(range(len(whole) - 60, len(whole)))
    for at in places:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        refused_or_right(copied)


@given(
    lengths=st.lists(st.integers(0, 300), max_size=40),
    page=st.sampled_from([1, 100, 1 << 20]),
    group=st.integers(1, 50),
    checksum=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_places_of_values_are_found(tmp_path: Path, lengths: list[int], page: int, group: int, checksum: bool) -> None:
    values = [bytes([n % 256]) * n for n in lengths]
    schema = pa.schema([pa.field("key", pa.string()), pa.field("payload", pa.binary(), nullable=False)])
    table = pa.table({"key": list(map(str, lengths)), "payload": pa.array(values, pa.binary())}, schema)
    path = tmp_path / "x.parquet"
    pq.write_table(
        table, path, compression="NONE", use_dictionary=False, data_page_size=page, row_group_size=group,
        write_page_checksum=checksum, write_batch_size=7,
    )  # fmt: skip
    data = path.read_bytes()
    found = []
    metadata = pq.read_metadata(path)
    for i in range(metadata.num_row_groups):
        column = metadata.row_group(i).column(1)
        assert plain(column) or not values
        places = value_places(lambda at, size: data[at : at + size], Chunk.of(column))
        assert places is not None
        found += [data[at : at + size] for at, size in zip(*map(np.ndarray.tolist, places), strict=True)]
    assert found == values


@given(st.binary(max_size=60))
def test_headers_of_nonsense_are_refused(data: bytes) -> None:
    try:
        _, end = read_struct(data)
    except CorruptStreamError:
        return
    assert end <= len(data) + 300


def rewrite(made: Made, table: pa.Table, **options: Any) -> None:
    path = made.path / FIRST
    metadata = {"isthmus": pq.read_metadata(path).metadata[b"isthmus"]}
    loose = pa.schema([pa.field(f.name, f.type) for f in table.schema])
    pq.write_table(table.cast(loose).replace_schema_metadata(metadata), path, **options)
    change(made, lambda m: m["shards"][0].update(bytes=path.stat().st_size))


@pytest.mark.parametrize(
    "options",
    [{"compression": "ZSTD"}, {"use_dictionary": True}, {"data_page_version": "2.0"}, {"row_group_size": 3}, {}],
)
def test_parquet_that_other_tools_wrote(copied: Made, options: dict[str, Any]) -> None:
    """The same rows, as another library lays them out, with nullable columns and larger integers."""
    rewrite(copied, pq.read_table(copied.path / FIRST), **options)
    data = LatentDataset(copied.path)
    for i in np.random.default_rng(0).permutation(53).tolist():
        assert np.array_equal(data[i]["y"], copied.planes[i]["y"]) and data[i]["key"] == copied.keys[i]


def test_our_own_are_read_where_they_lie(same: Made, mixed: Made) -> None:
    for made in (same, mixed):
        data = LatentDataset(made.path)
        data.__getitems__(range(len(data)))
        rows = data._source.rows  # type: ignore[attr-defined]
        assert all(isinstance(shard, ParquetShard) and shard._chunks for shard in rows._shards.values())
        assert not rows._opened.groups._kept


def test_labels_that_are_missing(copied: Made) -> None:
    table = pq.read_table(copied.path / FIRST)
    labels = pa.array([None, *table["label"].to_pylist()[1:]], pa.int64())
    rewrite(copied, table.set_column(table.schema.names.index("label"), "label", labels))
    assert [LatentDataset(copied.path)[i]["label"] for i in (0, 1, 16)] == [-100, 1, 1]


def test_places_of_this_process_and_url_paths(same: Made) -> None:
    """fsspec URLs are read by row groups."""
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in same.path.rglob("*.*"):
        memory.pipe_file(f"/rd-set/{path.relative_to(same.path).as_posix()}", path.read_bytes())
    data = LatentDataset("memory://rd-set")
    for i in np.random.default_rng(0).permutation(53).tolist():
        assert np.array_equal(data[i]["y"], same.planes[i]["y"])
    assert np.array_equal(LatentDataset(f"file://{same.path}")[3]["y"], same.planes[3]["y"])
    assert Manifest.read(Place("memory://rd-set")).count == 53


def test_tars_that_changed(tar: Made, tmp_path: Path) -> None:
    """Any bit of headers and members."""
    shutil.copytree(tar.path, tmp_path / "set")
    made, path, chance = tar._replace(path=tmp_path / "set"), tmp_path / "set/data/shard-00000.tar", random.Random(5)
    whole = path.read_bytes()
    headers = [at + chance.randrange(512) for at in range(0, len(whole), 512)][:150]
    for at in headers + [chance.randrange(len(whole)) for _ in range(100)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        refused_or_right(made)
    path.write_bytes(whole[:-20000])
    change(made, lambda m: m["shards"][0].update(bytes=path.stat().st_size))
    with pytest.raises(CorruptStreamError, match=r"shard-00000\.tar: "):
        read_all(made.path)


def test_no_memory_is_taken_for_what_is_not_there(same: Made) -> None:
    place = Place(same.path)
    for offset, size in ((4, 1 << 40), (1 << 50, 1), (0, -1)):
        with pytest.raises(CorruptStreamError, match="beyond its end"):
            Ranges(place, FIRST).read(offset, size)
