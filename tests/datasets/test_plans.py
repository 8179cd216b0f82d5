# SPDX-License-Identifier: Apache-2.0
"""Several sources in one data set, and what changes in them afterwards."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isthmus.datasets.checks import verify
from isthmus.datasets.listing import Listing
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError
from tests.datasets.photos import CODEC, make_photos
from tests.datasets.test_transcode import rows, run


def test_classes_that_come_later_in_one_source_are_known_to_the_others(tmp_path: Path) -> None:
    make_photos(tmp_path, ("p",), 3)
    first, second, target = tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "latents"
    first.write_text("path,label\np/0.png,cat\np/1.png,dog\n")
    second.write_text("path,label\np/2.png,emu\n")
    run(first, target)
    run(second, target, append=True)
    first.write_text("path,label\np/0.png,cat\np/1.png,zebra\n")
    run(first, target)
    second.write_text("path,label\np/2.png,yak\n")
    run(second, target)
    for _ in range(2):
        classes = Manifest.read(Place(target)).classes or []
        assert [classes[row["label"]] for row in rows(target)] == ["cat", "zebra", "yak"]
        assert not run(first, target).changes


def test_new_samples_with_keys_of_another_source_are_refused(tmp_path: Path) -> None:
    first, second = (make_photos(tmp_path / name / "photos", ("a",), 1) for name in ("1", "2"))
    (second / "a" / "0.png").rename(second / "a" / "1.png")
    target = tmp_path / "latents"
    run(first, target)
    run(second, target, append=True)
    shutil.copy(second / "a" / "1.png", first / "a" / "1.png")
    with pytest.raises(ValueError, match=r"has a sample 'a/1\.png' from elsewhere"):
        run(first, target)
    assert verify(target).whole


@pytest.mark.parametrize("number", [-1, 1, 99])
def test_a_shard_to_be_made_again_must_be_there(number: int, tmp_path: Path) -> None:
    source = make_photos(tmp_path / "photos", ("a",), 1)
    run(source, tmp_path / "latents")
    with pytest.raises(ValueError, match=f"rebuild {number}: no such shard; there are 0 to 0"):
        run(source, tmp_path / "latents", rebuild=[number])


def test_processes_that_never_begin_end_the_run_whatever_the_size_of_a_task(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"  # its task is more than a pipe holds
    table.write_text("path,text\n" + "".join(f"{i}.png,{'x' * 900}\n" for i in range(900)))
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from isthmus.datasets import transcode\n"
        f"transcode({str(table)!r}, {str(tmp_path / 'latents')!r}, codec={CODEC!r}, workers=1, progress=False)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert ended.returncode == 1 and "the processes end before they begin" in ended.stderr


def test_a_server_of_processes_that_is_killed_while_it_begins_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen = pytest.importorskip("multiprocessing.popen_forkserver")
    read, calls = popen.forkserver.read_signed, []

    def killed(number: int) -> int:
        calls.append(number)
        if len(calls) == 1:  # what it had begun lives on, and must not take the task
            raise EOFError("unexpected EOF")
        return int(read(number))

    monkeypatch.setattr(popen.forkserver, "read_signed", killed)
    report = run(make_photos(tmp_path / "photos", ("a",), 1), tmp_path / "latents", workers=1)
    assert report.complete and report.count == 1 and len(calls) > 1


@pytest.mark.parametrize(
    ("line", "edit"),
    [(0, {"classes": 3}), *((1, {"items": items}) for items in ([1], [None], [[]], [[3]], [{}], ["x"], 3))],
)
def test_a_plan_that_was_edited_is_refused_by_its_line(line: int, edit: dict[str, Any], tmp_path: Path) -> None:
    source, plan = make_photos(tmp_path / "photos", ("a",), 1), tmp_path / "latents" / "plan.jsonl"
    run(source, tmp_path / "latents")
    lines = plan.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **edit})
    plan.write_text("\n".join(lines) + "\n")
    with pytest.raises(CorruptStreamError, match=f"line {line + 1} cannot be read .* remove it, and the plan is made"):
        run(source, tmp_path / "latents")


def test_shards_of_another_source_are_not_made_of_this_one(tmp_path: Path) -> None:
    target, tables = tmp_path / "latents", []
    for name in ("a", "b"):
        make_photos(tmp_path / name, ("p",), 1)
        tables.append(tmp_path / name / "list.csv")
        tables[-1].write_text(f"path,key\np/0.png,{name}\n")  # the same path, of which each has its own file
    run(tables[0], target)
    run(tables[1], target, append=True)
    with pytest.raises(ValueError, match=r"rebuild 1: it is made of .*b/list\.csv'}: give that source"):
        run(tables[0], target, rebuild=[1])
    before = (target / "data" / "shard-00001.parquet").read_bytes()
    (target / "data" / "shard-00001.parquet").unlink()
    report = run(tables[0], target)
    assert not report.complete and not report.lost and report.elsewhere == [{"table": str(tables[1])}]
    assert run(tables[1], target).complete
    assert (target / "data" / "shard-00001.parquet").read_bytes() == before


def test_another_job_that_begins_while_the_source_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make_photos(tmp_path / "photos", ("a",), 1), tmp_path / "latents"

    class Slow(Listing):
        def __enter__(self) -> Listing:
            monkeypatch.undo()
            run(source, target, quality=50)
            return self

    monkeypatch.setattr("isthmus.datasets.job.Listing", Slow)
    with pytest.raises(ValueError, match="other settings: options"):
        run(source, target, quality=80)
    assert verify(target, decode=True).whole


def test_names_of_no_letters_are_no_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    photos = make_photos(tmp_path / "photos", ("a",), 2)
    columns = {"image": [str(photos / "a" / f"{i}.png") for i in range(2)], "label": ["", "b"]}
    data = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    assert not run(data, tmp_path / "latents").lost
    assert [row["label"] for row in rows(tmp_path / "latents")] == [None, 0]


def test_what_a_plan_that_was_removed_leaves(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos", ("a", "b"), 2), tmp_path / "latents"
    run(source, target, shard_size=2)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps({**manifest, "classes": ["b", "a"]}))
    assert any("its classes: not as its plan says" in problem for problem in verify(target).problems)
    (target / "plan.jsonl").unlink()
    with pytest.warns(UserWarning, match=r"data/shard-00001\.parquet: not of this plan, and left alone: remove it"):
        assert run(source, target).complete
    (target / "data" / "shard-00001.parquet").unlink()
    assert verify(target, decode=True).whole
