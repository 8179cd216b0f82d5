# SPDX-License-Identifier: Apache-2.0
"""`isthmus datasets verify` and `isthmus inspect` of a data set."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus.datasets import verify
from tests.datasets.latents.made import Made
from tests.datasets.latents.test_damage import FIRST, change

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("name", ["same", "mixed", "tar", "sounds"])
def test_what_is_whole(name: str, request: pytest.FixtureRequest) -> None:
    made: Made = request.getfixturevalue(name)
    told: list[int] = []
    for decode in (False, True):
        found = verify(made.path, decode=decode, progress=told.append)
        assert found.whole and not found.problems, found.problems
        assert (found.samples, found.bytes) == (len(made.streams), sum(map(len, made.streams)))
    assert sum(told) == 2 * sum(path.stat().st_size for path in (made.path / "data").iterdir())


def problems(made: Made, **options: Any) -> str:
    return "\n".join(verify(made.path, **options).problems)


def edited(made: Made, at: int) -> None:
    whole = bytearray((made.path / FIRST).read_bytes())
    whole[at] ^= 1
    (made.path / FIRST).write_bytes(whole)


def relisted(made: Made) -> None:
    """The manifest follows what was done to the first shard."""
    data = (made.path / FIRST).read_bytes()
    change(made, lambda m: m["shards"][0].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))


def test_a_stream_that_changed(copied: Made) -> None:
    at = (copied.path / FIRST).read_bytes().index(copied.streams[5])
    edited(copied, at + 40)
    assert "shard-00000.parquet: its SHA-256 is" in problems(copied)
    relisted(copied)
    found = problems(copied)
    assert "row 5 (2/005.png)" in found and "SHA-256" not in found and "checksum" in found


def test_rows_that_changed(copied: Made) -> None:
    """Rows of another order, with a key twice and a height that is not so, in a shard that says it is as before."""
    path = copied.path / FIRST
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    keys = table["key"].to_pylist()
    heights = [7, *table["height"].to_pylist()[1:]]
    table = table.set_column(0, "key", pa.array([keys[1], *keys[1:]]))
    table = table.set_column(table.schema.names.index("height"), "height", pa.array(heights, pa.int32()))
    schema = table.schema.with_metadata({"isthmus": metadata[b"isthmus"]})
    pq.write_table(table.cast(schema).slice(0, 15), path)
    relisted(copied)
    assert "15 rows, it says 16" in problems(copied)
    pq.write_table(table.cast(schema), path)
    relisted(copied)
    found = problems(copied)
    assert "row 1 (1/001.png): its key comes a second time" in found
    assert "row 0 (1/001.png): height 7, its stream says 64" in found


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.update(lost=4), "the manifest says lost 4, its shards 0"),
        (lambda m: m["planes"]["y"].update(low=-99), "plane y: not as its shards say"),
        (lambda m: m["planes"]["y"]["step"].reverse(), "the step of plane y: not as its codec has it"),
        (lambda m: m.update(kind="audio"), "its kind and codec"),
        (lambda m: m["settings"].update(crop=9), "shard-00003.parquet: of settings"),
        (lambda m: m["codec"].update(tables_hash={"walloc.2": "12345678"}), "row 4 .*052.png.*needs tables"),
        (lambda m: m.update(complete=False), "not finished"),
    ],
)
def test_manifests_that_lie(copied: Made, edit: Callable[[dict[str, Any]], Any], message: str) -> None:
    change(copied, edit)
    assert re.search(message, problems(copied))


def test_integers_that_are_not_what_a_shard_says(copied: Made) -> None:
    path = copied.path / FIRST
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    told = json.loads(metadata[b"isthmus"])
    told["planes"]["y"]["sums"][0] += 1
    pq.write_table(table.replace_schema_metadata({"isthmus": json.dumps(told)}), path)
    relisted(copied)
    assert "sums of its integers" in problems(copied, decode=True) and "sums of its" not in problems(copied)


def test_shards_that_are_missing_or_too_many(copied: Made) -> None:
    shutil.move(copied.path / FIRST, copied.path / "data" / "old.parquet")
    found = problems(copied)
    assert "shard-00000.parquet: the manifest names it, and it is not there" in found
    assert "old.parquet: the manifest does not name it" in found


def test_the_commands(copied: Made, run: Run) -> None:
    status, out, err = run("datasets", "verify", copied.path)
    assert status == 0 and "53 samples in 4 shards" in out and "all as it should be" in out
    assert run("datasets", "verify", "--decode", copied.path)[0] == 0
    status, out, err = run("inspect", copied.path)
    told = json.loads(out)
    assert status == 0 and told["samples"] == 53 and told["planes"]["y"]["shape"] == [12, 8, 8]
    assert told["missing"] is None and told["codec"] == "walloc-image-f8c12" and told["classes"] == 3
    edited(copied, 300)
    status, out, err = run("datasets", "verify", copied.path)
    assert status == 2 and "SHA-256" in err and "2 problems" in out
    status, out, err = run("datasets", "verify", copied.path.parent)
    assert status == 2 and "no data set of latents" in err and err.count("\n") == 1
    assert run("inspect", copied.path.parent)[0] == 2


def test_labels_that_the_classes_do_not_tell(copied: Made) -> None:
    change(copied, lambda m: m["classes"].pop())
    assert "row 2 (2/002.png): label 2, the manifest has 2 classes" in problems(copied)
