# SPDX-License-Identifier: Apache-2.0
"""What people may not expect of their source: it is said, or refused in one line."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus.datasets.checks import verify
from isthmus.datasets.dry_run import estimate
from isthmus.datasets.finish import done_shards
from isthmus.datasets.job import Run
from isthmus.datasets.plan import read_shards
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.media.audio import write
from isthmus.signals import AudioSignal
from tests.datasets.photos import CODEC, make_photos, photo
from tests.datasets.test_transcode import rows, run

ASKED: dict[str, Any] = {
    "codec": CODEC, "views": (), "resize": None, "crop": None, "format": "parquet", "checksums": False, "device": "cpu",
}  # fmt: skip


def with_label(path: Path, labels: Any, **others: Any) -> Path:
    data = (make_photos(path.parent / "p", ("a",), 1) / "a" / "0.png").read_bytes()
    images = [{"bytes": data, "path": f"{n}.png"} for n in range(len(labels))]
    pq.write_table(pa.table({"image": images, "label": labels, **others}), path)
    return path


def test_one_file_beside_class_folders(tmp_path: Path) -> None:
    source = make_photos(tmp_path / "photos", ("cat", "dog"), 2)
    photo(9).save(source / "loose.png")
    report = run(source, tmp_path / "latents")
    assert report.note == "no labels, as loose.png lies in no folder of a class" and report.classes is None
    (source / "loose.png").unlink()
    assert run(source, tmp_path / "labelled").note is None
    photo(9).save(source / "loose.png")
    with pytest.raises(ValueError, match=r"lack labels, unlike the data set \(no labels, as loose\.png lies in no"):
        run(source, tmp_path / "labelled")


def test_columns_that_are_not_kept(tmp_path: Path) -> None:
    source = with_label(tmp_path / "x.parquet", [1, 2], boxes=[[1, 2], [3]], text=["a", "b"])
    report = run(source, tmp_path / "latents")
    assert report.note is not None and "boxes (list<" in report.note and "text" not in report.note.split(":")[1]


def test_labels_that_are_true_or_false(tmp_path: Path) -> None:
    run(with_label(tmp_path / "x.parquet", [True, False]), tmp_path / "latents")
    assert [row["label"] for row in rows(tmp_path / "latents")] == [1, 0]


@pytest.mark.parametrize("labels", [[0.5], [[1, 2]]])
def test_labels_that_are_neither_numbers_nor_names(labels: Any, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"label is of type (double|list.*), expected whole numbers or names"):
        run(with_label(tmp_path / "x.parquet", labels), tmp_path / "latents")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label,label\na.png,1,2\n")
    with pytest.raises(UnreadableFileError, match="two columns are called 'label'"):
        run(tmp_path / "list.csv", tmp_path / "latents")


def test_latents_are_no_source(tmp_path: Path) -> None:
    run(make_photos(tmp_path / "photos", ("a",), 1), tmp_path / "latents")
    for source in (tmp_path / "latents", tmp_path / "latents" / "data"):
        with pytest.raises(UnreadableFileError, match="latents already; expected images or sound"):
            run(source, tmp_path / "again")


def test_a_dry_run_counts_what_is_left(tmp_path: Path) -> None:
    source = make_photos(tmp_path / "photos", ("a", "b"), 4)
    assert "8 samples" in (told := estimate(source, tmp_path / "latents", **ASKED)) and "none of them" in told
    run(source, tmp_path / "latents", shard_size=3)
    assert "8 of them done, 0 to do" in estimate(source, tmp_path / "latents", **ASKED)
    photo(20).save(source / "a" / "0.png")  # in the first shard
    photo(21).save(source / "b" / "9.png")
    assert "5 of them done, 4 to do" in estimate(source, tmp_path / "latents", **ASKED)


def test_a_set_that_is_not_finished_is_verified_as_far_as_it_is(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos", ("a",), 4), tmp_path / "latents"
    run(source, target, shard_size=2, num_shards=2, shard_index=1)
    found = verify(target, decode=True)
    assert (found.shards, found.samples, len(found.problems)) == (1, 2, 1) and "1 shards are there" in found.problems[0]
    settings = Run.of(source, target, CODEC, (), None, None, "parquet", False, "cpu", {}).settings
    assert list(done_shards(Place(target), settings, read_shards(Place(target)))) == [1]


def test_more_goes_in_with_the_codec_that_is_there(tmp_path: Path) -> None:
    assert CODEC != "walloc-image-f8c48"  # the usual one
    run(make_photos(tmp_path / "photos", ("a",), 1), tmp_path / "latents")
    report = run(make_photos(tmp_path / "more", ("b",), 1), tmp_path / "latents", codec=None, append=True)
    assert report.complete and report.count == 2


def test_names_of_labels_are_what_they_are_for_load_dataset(tmp_path: Path) -> None:
    import datasets
    from PIL import Image

    names = ["- 1: 'a' # \U0001f600", 'cat "b" \\', "null", "ünï\u2028\x85"]
    for name in names:
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "photos" / name / "0.gif")
    report = run(tmp_path / "photos", tmp_path / "latents")
    assert report.complete and report.classes == sorted(names)
    found = datasets.load_dataset(str(tmp_path / "latents"), cache_dir=str(tmp_path / "cache"))["train"]
    assert found.features["label"].names == sorted(names) and list(found["label"]) == [0, 1, 2, 3]


def test_a_folder_is_of_the_kind_of_most_of_its_files(tmp_path: Path) -> None:
    source = make_photos(tmp_path / "songs", ("a",), 1)
    for number in range(2):
        write(source / "a" / f"{number}.wav", np.full((1, 400), 0.5, np.float32), AudioSignal(8000, 1, 400))
    (source / "a" / "notes").write_text("")
    report = run(source, tmp_path / "latents", codec=None)
    assert report.count == 2 and report.note is not None
    assert report.note.startswith("2 files of other kinds are passed over (") and "1 .png" in report.note


def test_a_damaged_shard_is_named_by_a_run(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos", ("a",), 2), tmp_path / "latents"
    run(source, target, entropy="factorized")
    shard, payload = target / "data" / "shard-00000.parquet", rows(target)[0]["payload"]
    data = bytearray(shard.read_bytes())
    data[data.index(payload) + len(payload) - 9] ^= 255
    shard.write_bytes(data)
    with pytest.raises(CorruptStreamError, match=r"shard-00000\.parquet: a/0\.png: .* --rebuild 0"):
        run(source, target, entropy="factorized")
    script = f"from isthmus.datasets import LatentDataset; LatentDataset({str(target)!r})[0]"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr  # not 134, as where pyarrow's threads outlive Python
    assert run(source, target, rebuild=[0], entropy="factorized").complete and verify(target).whole


def test_of_two_jobs_that_begin_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make_photos(tmp_path / "photos", ("a",), 2), tmp_path / "latents"
    other = make_photos(tmp_path / "others", ("a",), 1)
    begin = Run._begin

    def overtaken(given: Any, message: str) -> None:
        with monkeypatch.context() as patch:

            def late(own: Run, *arguments: Any) -> bool:
                patch.setattr(Run, "_begin", begin)
                assert run(**given, target=target).complete  # after this one has looked
                return begin(own, *arguments)

            patch.setattr(Run, "_begin", late)
            with pytest.raises(ValueError, match=message):
                run(source, target)
        assert verify(target).whole
        shutil.rmtree(target)

    overtaken({"source": source, "quality": 80}, "a data set with other settings: options")
    overtaken({"source": other}, "made of .*others.*, not of ")
