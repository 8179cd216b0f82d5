# SPDX-License-Identifier: Apache-2.0
"""Folders, tables, Parquet, tars and data sets of Hugging Face: the same samples, whatever they come in."""

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import isthmus
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.storage import Place
from isthmus.errors import UnreadableFileError
from tests.datasets.photos import CODEC, make_photos
from tests.datasets.test_transcode import rows, run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", ("cat", "dog"), 3)


@pytest.fixture
def payloads(photos: Path) -> list[bytes]:
    """Of the photographs in order."""
    codec = isthmus.load(CODEC)
    return [codec.encode(np.asarray(Image.open(path))) for path in sorted(photos.rglob("*.png"))]


def encoded(target: Path) -> list[bytes]:
    return [row["payload"] for row in rows(target)]


def write_csv(path: Path, table: list[dict[str, Any]]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


def test_tables_of_paths(photos: Path, payloads: list[bytes], tmp_path: Path) -> None:
    names = [str(path.relative_to(tmp_path)) for path in sorted(photos.rglob("*.png"))]
    table = [{"path": n, "label": Path(n).parent.name, "place": f"n°{i}"} for i, n in enumerate(names)]
    run(write_csv(tmp_path / "list.csv", table), tmp_path / "a")
    assert encoded(tmp_path / "a") == payloads and [r["place"] for r in rows(tmp_path / "a")] == [
        t["place"] for t in table
    ]
    assert Manifest.read(Place(tmp_path / "a")).classes == ["cat", "dog"]
    lines = [
        {"image": str(photos.parent / n), "key": f"k{i}", "label": i % 2, "mass": i / 2} for i, n in enumerate(names)
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    run(tmp_path / "list.jsonl", tmp_path / "b")
    there = rows(tmp_path / "b")
    assert encoded(tmp_path / "b") == payloads and [(r["key"], r["label"], r["mass"]) for r in there] == [
        (line["key"], line["label"], line["mass"]) for line in lines
    ]


def test_tables_with_faults(photos: Path, tmp_path: Path) -> None:
    cat = "photos/cat/0.png"
    given = [(cat, 1), ("photos/cat/nothing.png", 1), ("", 2), (cat, 1), ("photos/dog/1.png", "")]
    table = [{"path": name, "label": label} for name, label in given]
    report = run(write_csv(tmp_path / "list.csv", table), tmp_path / "a")
    assert [row["label"] for row in rows(tmp_path / "a")] == [1, None]
    assert [key for key, _ in report.losses] == ["photos/cat/nothing.png", "row 3", "photos/cat/0.png (2)"]
    assert "another sample has this key" in report.losses[2][1]
    for text, why in (
        ("name\nx\n", "no column of paths"), ("path,label\na.png\n", "fewer cells"), ("", "no rows"),
        ("path\n", "no column|no rows"), ("\x00\xff", "no column|not a table"),
    ):  # fmt: skip
        (tmp_path / "bad.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(UnreadableFileError, match=why):
            run(tmp_path / "bad.csv", tmp_path / "b")
    for text, why in (
        ("3\n", "expected an object"),
        ("{", "not a table"),
        ('{"path": "x", "label": [1]}', "is a list"),
    ):
        (tmp_path / "bad.jsonl").write_text(text)
        with pytest.raises(UnreadableFileError, match=why):
            run(tmp_path / "bad.jsonl", tmp_path / "b")


def test_parquet(photos: Path, payloads: list[bytes], tmp_path: Path) -> None:
    paths = sorted(photos.rglob("*.png"))
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    images[4] = {"bytes": None, "path": "gone.png"}
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table({"image": images, "label": pa.array([0, 0, -1, 1, 1, 1]), "n": pa.array(range(6), "int16")})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "set.parquet", row_group_size=4
    )
    report = run(tmp_path / "set.parquet", tmp_path / "a")
    assert encoded(tmp_path / "a") == payloads[:4] + payloads[5:] and "no bytes" in report.losses[0][1]
    assert [(r["label"], r["n"]) for r in rows(tmp_path / "a")] == [(0, 0), (0, 1), (None, 2), (1, 3), (1, 5)]
    assert Manifest.read(Place(tmp_path / "a")).classes == ["cat", "dog"]
    pq.write_table(
        pa.table({"jpg": [i["bytes"] or b"" for i in images], "key": list("abcdef")}), tmp_path / "plain.parquet"
    )
    run(tmp_path / "plain.parquet", tmp_path / "b")
    assert [row["key"] for row in rows(tmp_path / "b")] == list("abcdf")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + bytes(30))
    for name in ("text.parquet", "broken.parquet", "nothing.parquet"):
        with pytest.raises(UnreadableFileError, match=name):
            run(tmp_path / name, tmp_path / "c")


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def test_tars(photos: Path, payloads: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    paths = sorted(photos.rglob("*.png"))
    for number in range(2):
        members: dict[str, bytes] = {"__meta__/about.json": b"{}"}
        for place in range(3 * number, 3 * number + 3):
            members |= {f"s/{place}.png": paths[place].read_bytes(), f"s/{place}.cls": b"%d" % place}
            members[f"s/{place}.json"] = json.dumps({"n": place}).encode()
        make_tar(tmp_path / "tars" / f"{number}.tar", members)
    run(tmp_path / "tars", tmp_path / "a", workers=1)
    there = rows(tmp_path / "a")
    assert encoded(tmp_path / "a") == payloads and [(r["key"], r["label"]) for r in there] == [
        (f"s/{n}", n) for n in range(6)
    ]
    assert [json.loads(row["json"])["n"] for row in there] == list(range(6))
    whole = (tmp_path / "tars" / "1.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    report = run(tmp_path / "cut.tar", tmp_path / "b")
    assert report.count >= 1 and "cut or damaged" in report.losses[-1][1]
    faults = {"a.txt": b"x", "b.png": b"no image", "b.cls": b"two", "c.png": paths[0].read_bytes()}
    report = run(make_tar(tmp_path / "faults.tar", faults), tmp_path / "c")
    assert [key for key, _ in report.losses] == ["a", "b"] and report.count == 1


def test_data_sets_of_hugging_face(photos: Path, payloads: list[bytes], tmp_path: Path) -> None:
    import datasets

    paths = sorted(photos.rglob("*.png"))
    columns = {"image": [str(path) for path in paths], "label": [0, 0, 0, 1, 1, 1], "text": list("abcdef")}
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]), text=datasets.Value("string")
    )
    given = datasets.Dataset.from_dict(columns, features=features)
    run(given, tmp_path / "a", workers=1)
    there = rows(tmp_path / "a")
    assert encoded(tmp_path / "a") == payloads and [(r["label"], r["text"]) for r in there] == list(
        zip(columns["label"], columns["text"], strict=True)
    )
    assert Manifest.read(Place(tmp_path / "a")).classes == ["cat", "dog"]
    assert run(given, tmp_path / "a").made == 0
    with pytest.raises(TypeError, match="choose a split"):
        run(datasets.DatasetDict(train=given), tmp_path / "b")
    with pytest.raises(TypeError, match="to_parquet"):
        run(given.to_iterable_dataset(), tmp_path / "b")


def test_folders_with_litter(photos: Path, tmp_path: Path) -> None:
    (photos / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nope")
    (photos / "cat" / "empty.png").touch()
    (photos / "cat" / "text.png").write_text("text")
    (photos / "cat" / "nothing.png").symlink_to("/nowhere")
    (photos / "cat" / "folder.png").mkdir()
    (photos / "cat" / "again").symlink_to(photos)
    (photos / "dog" / "also cat").symlink_to(tmp_path / "more")
    make_photos(tmp_path / "more", ("deep",), 1)
    Image.new("RGB", (3000, 3000)).save(photos / "dog" / "huge.png")
    (photos / ".hidden.png").write_bytes(b"x")
    (photos / "notes.txt").write_text("x")
    report = run(photos, tmp_path / "a", max_pixels=1 << 20)
    told = dict(report.losses)
    assert sorted(told) == ["cat/broken.jpg", "cat/empty.png", "cat/nothing.png", "cat/text.png", "dog/huge.png"]
    assert "9,000,000 pixels" in told["dog/huge.png"] and told["cat/nothing.png"] == "a link to nothing"
    keys = [row["key"] for row in rows(tmp_path / "a")]
    assert len(keys) == 7 and "dog/also cat/deep/0.png" in keys
    lines = [json.loads(line) for line in (tmp_path / "a" / "errors.jsonl").read_text().splitlines()]
    assert {line["key"]: line["error"] for line in lines} == told
    import datasets

    found = datasets.load_dataset(str(tmp_path / "a"), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(found) == 7 and found.features["label"].names == ["cat", "dog"]
    with pytest.raises(UnreadableFileError, match="no image files"):
        (tmp_path / "empty").mkdir()
        run(tmp_path / "empty", tmp_path / "b")


def test_names_that_are_no_text(photos: Path, tmp_path: Path) -> None:
    try:
        (photos / "cat" / "x\udcff.png").write_bytes((photos / "cat" / "0.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes no such names")
    report = run(photos, tmp_path / "a")
    assert report.count == 6 and report.losses == [("cat/x\\udcff.png", "its name is not UTF-8")]


def test_sound_that_is_none(tmp_path: Path) -> None:
    from isthmus.datasets import transcode
    from isthmus.media.audio import wav

    (tmp_path / "songs").mkdir()
    tone = np.sin(np.arange(800) / 9).astype(np.float32)
    for name, data in (("a.wav", tone), ("nan.wav", np.full(10, np.nan, np.float32))):
        with open(tmp_path / "songs" / name, "wb") as file:
            file.write(_float_wav(data))
    (tmp_path / "songs" / "text.wav").write_text("hello")
    (tmp_path / "songs" / "seven.wav").write_bytes(wav.header(8000, 7, 14) + bytes(14))
    report = transcode(tmp_path / "songs", tmp_path / "a", codec="walloc-audio-f256c27", workers=0, progress=False)
    assert [key for key, _ in report.losses] == ["nan.wav", "seven.wav", "text.wav"] and report.count == 1


def _float_wav(samples: np.ndarray) -> bytes:
    import struct

    data = samples.astype("<f4").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 8000, 32000, 4, 32)
    return (
        struct.pack("<4sI4s", b"RIFF", 4 + len(form) + 8 + len(data), b"WAVE")
        + form
        + struct.pack("<4sI", b"data", len(data))
        + data
    )
