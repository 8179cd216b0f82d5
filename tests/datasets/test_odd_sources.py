# SPDX-License-Identifier: Apache-2.0
"""Sources that are odd: links in circles, pipes in tables, labels that are names or too great, folders called files."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus.datasets import LatentDataset
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.settings import Settings
from isthmus.datasets.storage import Place
from isthmus.datasets.views import views_of
from isthmus.errors import UnreadableFileError
from tests.datasets.photos import CODEC, make_photos, photo
from tests.datasets.test_sources import make_tar
from tests.datasets.test_transcode import rows, run


def image_bytes(number: int, format: str = "PNG") -> bytes:
    made = io.BytesIO()
    photo(number).save(made, format)
    return made.getvalue()


def write_parquet(path: Path, **columns: Any) -> Path:
    images = [{"bytes": image_bytes(i), "path": f"{i}.png"} for i in range(3)]
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": images, **columns}), path)
    return path


def test_links_of_two_folders_to_each_other(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", ("a", "b"), 1)
    (photos / "a" / "x").symlink_to("../b")
    (photos / "b" / "y").symlink_to("../a")
    run(photos, tmp_path / "latents")
    assert [row["key"] for row in rows(tmp_path / "latents")] == ["a/0.png", "a/x/0.png", "b/0.png", "b/y/0.png"]


def test_a_class_that_cannot_be_listed_leaves_the_labels_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, scan = make_photos(tmp_path / "photos", ("a", "b", "c"), 1), os.scandir

    def scandir(path: Any) -> Any:
        if str(path) == str(photos / "b"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = run(photos, tmp_path / "latents")
    assert report.losses == [("b", "cannot be listed: Permission denied")]
    classes = Manifest.read(Place(tmp_path / "latents")).classes or []
    assert [(row["key"], classes[row["label"]]) for row in rows(tmp_path / "latents")] == [
        ("a/0.png", "a"), ("c/0.png", "c")
    ]  # fmt: skip


def test_pipes_in_tables_are_not_waited_for(tmp_path: Path) -> None:
    make_photos(tmp_path, ("a",), 1)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "list.csv").write_text("path\npipe.png\na/0.png\n/dev/zero\n")
    report = run(tmp_path / "list.csv", tmp_path / "latents")
    assert report.count == 1 and {why for _, why in report.losses} == {"a pipe or a device, not a file"}
    assert report.lost == 2


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["--5", "3"], ["--5", "3"], [0, 1]),
        (["²", "3"], ["3", "²"], [1, 0]),
        (["9" * 30, "3"], ["3", "9" * 30], [1, 0]),
        (["-7", " 3"], None, [None, 3]),
    ],
)
def test_labels_that_look_like_numbers(
    labels: list[str], classes: list[str] | None, expected: list[int | None], tmp_path: Path
) -> None:
    make_photos(tmp_path, ("a",), 2)
    lines = [f"a/{number}.png,{label}\n" for number, label in enumerate(labels)]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(lines))
    run(tmp_path / "list.csv", tmp_path / "latents")
    assert [row["label"] for row in rows(tmp_path / "latents")] == expected
    assert Manifest.read(Place(tmp_path / "latents")).classes == classes


def test_numbers_and_text_in_json_that_columns_do_not_hold(tmp_path: Path) -> None:
    make_photos(tmp_path, ("a",), 2)
    table = tmp_path / "list.jsonl"
    values = [10**400, 1.5]
    table.write_text("".join(json.dumps({"path": f"a/{i}.png", "n": n}) + "\n" for i, n in enumerate(values)))
    run(table, tmp_path / "latents")
    assert [row["n"] for row in rows(tmp_path / "latents")] == [str(10**400), "1.5"]
    for line, why in (
        ('{"path": "x", "n": "\\ud800"}', "surrogates"),
        ('{"path": "x", "label": 1e300}', "row 1: label"),
    ):
        table.write_text(line)
        with pytest.raises(UnreadableFileError, match=why):
            run(table, tmp_path / "others")


def test_labels_of_parquet(tmp_path: Path) -> None:
    names = pa.array(["dog", None, "cat"])
    for column in (names, names.dictionary_encode(), names.cast(pa.large_string())):
        source = write_parquet(tmp_path / "x.parquet", label=column)
        target = tmp_path / str(column.type).partition("<")[0]
        run(source, target)
        assert Manifest.read(Place(target)).classes == ["cat", "dog"]
        assert [row["label"] for row in rows(target)] == [1, None, 0]
    write_parquet(tmp_path / "x.parquet", label=pa.array([1, 2**64 - 1, 0], pa.uint64()))
    report = run(tmp_path / "x.parquet", tmp_path / "great")
    assert report.count == 2 and "expected a number of 64 bits" in report.losses[0][1]


def test_labels_of_hugging_face_that_are_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"image": [photo(i) for i in range(2)], "label": ["dog", "cat"]})
    run(made, tmp_path / "latents")
    assert Manifest.read(Place(tmp_path / "latents")).classes == ["cat", "dog"]
    assert [row["label"] for row in rows(tmp_path / "latents")] == [1, 0]


def test_a_folder_that_is_called_as_a_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "spark.parquet" / "part-0.parquet")
    assert run(tmp_path / "spark.parquet", tmp_path / "latents").count == 3


def test_files_of_many_samples_that_change_without_growing(tmp_path: Path) -> None:
    source, target = tmp_path / "x.tar", tmp_path / "latents"
    make_tar(source, {"a.bmp": image_bytes(1, "BMP"), "b.bmp": image_bytes(2, "BMP")})
    run(source, target)
    before, size = [row["payload"] for row in rows(target)], source.stat().st_size
    assert not run(source, target).changes
    make_tar(source, {"a.bmp": image_bytes(3, "BMP"), "b.bmp": image_bytes(2, "BMP")})
    os.utime(source, ns=(1, 1))
    assert source.stat().st_size == size and run(source, target).changes.changed == 2
    after = [row["payload"] for row in rows(target)]
    assert after[0] != before[0] and after[1] == before[1]


def test_samples_without_a_label_among_others_come_with_none_when_read_as_they_are(tmp_path: Path) -> None:
    make_photos(tmp_path, ("a",), 2)
    (tmp_path / "list.csv").write_text("path,label\na/0.png,\na/1.png,3\n")
    data = LatentDataset(tmp_path / "list.csv", codec=CODEC)
    assert [sample["label"] for sample in (data[0], data[1])] == [-100, 3]


def test_images_are_not_enlarged_without_end() -> None:
    for size, shape in ((None, (9, 1, 3)), (1 << 14, (2, 2, 3))):
        settings = Settings("x", "image", "", resize=10_000 if size is None else None, crop=size)
        with pytest.raises(ValueError, match="would be resized to .* pixels .*; images are enlarged to at most"):
            next(iter(views_of(np.zeros(shape, np.uint8), settings, "")))
