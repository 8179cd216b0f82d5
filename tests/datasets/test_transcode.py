# SPDX-License-Identifier: Apache-2.0
"""A source to a data set, again, and after changes."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import isthmus
from isthmus.datasets import shards, transcode
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, UnreadableFileError, UnwritableFileError
from tests.datasets.photos import CODEC, make_photos, photo


def run(source: Any, target: Any, **given: Any) -> Any:
    return transcode(source, target, **{"codec": CODEC, "workers": 0, "progress": False, "shard_size": 10, **given})


def rows(target: Any) -> list[dict[str, Any]]:
    place = Place(target)
    return [row for name in place.files("data") for row in shards.rows(place, f"data/{name}")]


def name(row: dict[str, Any]) -> tuple[str, str]:
    return row["key"], row["view"]


def files(target: Path) -> dict[str, bytes]:
    return {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}


def test_a_folder_of_classes(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos"), tmp_path / "latents"
    report = run(source, target, quality=60)
    assert (report.count, report.lost, report.shards, report.made, report.complete) == (24, 0, 3, 3, True)
    there, manifest = rows(target), Manifest.read(Place(target))
    assert [row["key"] for row in there] == sorted(row["key"] for row in there)
    assert manifest.classes == ["cat", "dog bird", "ünï"] and manifest.settings["options"]["quality"] == 60
    codec = isthmus.load(CODEC)
    for row in there:
        image = np.asarray(Image.open(source / row["key"]))
        assert row["payload"] == codec.encode(image, quality=60)
        assert manifest.classes[row["label"]] == row["key"].split("/")[0]
        assert (row["height"], row["width"]) == image.shape[:2]
    values = np.stack([codec.unpack(row["payload"]).planes["y"].numpy() for row in there])
    plane = manifest.planes["y"]
    np.testing.assert_allclose(plane["mean"], values.mean((0, 2, 3)))
    np.testing.assert_allclose(plane["std"], values.std((0, 2, 3)))
    assert (plane["low"], plane["high"], plane["dtype"]) == (values.min(), values.max(), "int8")
    latent = codec.unpack(there[0]["payload"])
    step = np.array(plane["step"], np.float32)[:, None, None]
    np.testing.assert_array_equal(latent.dequantize()["y"].numpy(), latent.planes["y"].numpy() * step)
    assert sum(shard.bytes for shard in manifest.shards) < 1.2 * manifest.bytes_out + 3 * 6000


def test_nothing_is_done_twice_and_bytes_do_not_depend_on_processes(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos"), tmp_path / "latents"
    run(source, target)
    before = files(target)
    assert run(source, target).made == 0 and files(target) == before
    (target / "data/shard-00001.parquet").unlink()
    (target / "data/shard-00002.parquet").write_bytes(before["data/shard-00002.parquet"][:-100])
    assert run(source, target, workers=2).made == 2 and files(target) == before
    assert run(source, target, rebuild=[1]).made == 1 and files(target) == before


def test_a_run_does_not_take_damage_for_granted(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos"), tmp_path / "latents"
    run(source, target)
    path = target / "data/shard-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    manifest = (target / "manifest.json").read_bytes()
    assert run(source, target).made == 0 and (target / "manifest.json").read_bytes() == manifest
    assert run(source, target, rebuild=[1]).made == 1 and path.read_bytes() == whole


def test_jobs_share_a_destination(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos"), tmp_path / "latents"
    run(source, tmp_path / "other")
    first = run(source, target, num_shards=2, shard_index=1)
    assert (first.made, first.complete) == (1, False) and not Manifest.read(Place(target)).complete
    second = run(source, target, num_shards=2, shard_index=0)
    assert (second.made, second.complete) == (2, True)
    assert files(target) == files(tmp_path / "other")


def test_changes_in_the_source_are_noticed(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos"), tmp_path / "latents"
    run(source, target)
    photo(99).save(source / "cat" / "3.png")
    (source / "ünï" / "7.png").unlink()
    photo(100).save(source / "cat" / "00.png")
    (source / "bird").mkdir()
    photo(101).save(source / "bird" / "1.png")
    report = run(source, target)
    assert str(report.changes) == "2 new, 1 changed, 1 gone" and report.made == 3 and report.complete
    there = rows(target)
    assert len(there) == 25 and [row["key"] for row in there[-2:]] == ["bird/1.png", "cat/00.png"]
    manifest = Manifest.read(Place(target))
    assert manifest.classes == ["cat", "dog bird", "ünï", "bird"]
    assert all(manifest.classes[row["label"]] == row["key"].split("/")[0] for row in there)
    assert run(source, target).made == 0


def test_checksums_see_what_size_and_time_do_not(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    make_photos(source, ("a",), 3)
    run(source, tmp_path / "latents", checksums=True)
    path = source / "a" / "1.png"
    about, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    report = run(source, tmp_path / "latents", checksums=True)
    assert report.changes.changed == 1 and report.lost == 1


def test_another_source_is_appended(tmp_path: Path) -> None:
    source, more, target = make_photos(tmp_path / "photos"), tmp_path / "more", tmp_path / "latents"
    make_photos(more, ("wolf", "cat"), 0)
    for number in range(3):
        photo(50 + number).save(more / "wolf" / f"w{number}.png")
    run(source, target)
    before = files(target)
    with pytest.raises(ValueError, match="append"):
        run(more, target)
    report = run(more, target, append=True)
    assert (report.count, report.made, report.complete) == (27, 1, True)
    after = files(target)
    assert all(after[name] == data for name, data in before.items() if name.startswith("data/"))
    assert Manifest.read(Place(target)).classes == ["cat", "dog bird", "ünï", "wolf"]
    assert run(source, target).made == run(more, target).made == 0
    shutil.copytree(source / "cat", tmp_path / "third" / "cat")
    with pytest.raises(ValueError, match="from elsewhere"):
        run(tmp_path / "third", target, append=True)


def test_views_sizes_and_tars(tmp_path: Path) -> None:
    source = make_photos(tmp_path / "photos", ("a",), 3)
    given = {"views": ["hflip", "crops:2"], "resize": 30, "crop": 24}
    run(source, tmp_path / "latents", **given)
    there = rows(tmp_path / "latents")
    assert [row["view"] for row in there[:4]] == ["", "hflip", "crop0", "crop1"] and len(there) == 12
    assert all((row["height"], row["width"]) == (24, 24) for row in there)
    codec = isthmus.load(CODEC)
    image = Image.open(source / there[0]["key"]).resize((38, 30), Image.Resampling.BICUBIC).crop((7, 3, 31, 27))
    assert there[0]["payload"] == codec.encode(np.asarray(image))
    assert there[1]["payload"] == codec.encode(np.ascontiguousarray(np.asarray(image)[:, ::-1]))
    run(source, tmp_path / "tars", format="tar", **given)
    assert sorted(rows(tmp_path / "tars"), key=name) == sorted(there, key=name)
    for wrong in ({"views": ["crops:2"]}, {"views": ["turn"]}, {"crop": 40, "resize": 30}, {"resize": 0}):
        with pytest.raises(ValueError):
            run(source, tmp_path / "wrong", **wrong)


def test_in_memory(tmp_path: Path) -> None:
    import fsspec

    source = make_photos(tmp_path / "photos")
    run(source, tmp_path / "latents")
    memory = fsspec.filesystem("memory")
    for path in source.rglob("*.png"):
        memory.pipe_file(f"/photos/{path.relative_to(source)}", path.read_bytes())
    report = run("memory://photos", "memory://latents", workers=2)
    assert report.count == 24 and report.complete
    assert rows("memory://latents") == rows(tmp_path / "latents")
    assert run("memory://photos", "memory://latents").made == 0
    with pytest.raises(ValueError, match="memory"):
        run("memory://photos", "memory://other", engine="ray", workers=1)


def test_what_is_refused(tmp_path: Path, tiny_weights: Path) -> None:
    source = make_photos(tmp_path / "photos", ("a",), 2)
    target = tmp_path / "latents"
    for wrong in (
        {"codec": "dfloat"},
        {"engine": "dask"},
        {"format": "zip"},
        {"shard_index": 2},
        {"workers": -1},
        {"shard_size": 0},
    ):
        with pytest.raises(ValueError):
            run(source, target, **wrong)
    with pytest.raises(TypeError, match="no option 'speed'"):
        run(source, target, speed=3)
    with pytest.raises(UnreadableFileError):
        run(tmp_path / "nothing", target)
    run(source, target)
    for other in ({"quality": 70}, {"views": ["hflip"]}, {"codec": str(tiny_weights)}, {"format": "tar"}):
        with pytest.raises(ValueError, match="other settings"):
            run(source, target, **other)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UnwritableFileError, match="no data set of latents"):
        run(source, tmp_path / "full")
    (tmp_path / "link").symlink_to(source / "a", target_is_directory=True)
    for inside in (source / "latents", source, tmp_path / "link" / "latents"):
        with pytest.raises(ValueError, match="within the source"):
            run(source, inside)
    with pytest.raises(ValueError, match="appended"):
        run(source, tmp_path / "none", append=True)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps({**manifest, "count": 7}))
    with pytest.raises(CorruptStreamError, match="7 samples"):
        run(source, target)


def test_own_weights_go_with_the_data_set(tmp_path: Path, tiny_weights: Path) -> None:
    source, target = make_photos(tmp_path / "photos", ("a",), 2), tmp_path / "latents"
    report = run(source, target, codec=str(tiny_weights), workers=1)
    assert report.complete and (target / "codec.safetensors").read_bytes() == tiny_weights.read_bytes()
    assert isthmus.load(str(target / "codec.safetensors")).decode(rows(target)[0]["payload"]).shape == (3, 32, 40)


def test_parquet_is_as_the_format_page_says(tmp_path: Path) -> None:
    source, target = make_photos(tmp_path / "photos", ("a",), 3), tmp_path / "latents"
    run(source, target)
    with pq.ParquetFile(target / "data/shard-00000.parquet") as file:
        column = file.metadata.row_group(0).column(file.schema_arrow.names.index("payload"))
        assert (column.compression == "UNCOMPRESSED" and column.encodings == ("RLE", "PLAIN")) or column.encodings == (
            "PLAIN",
        )
        assert not column.has_dictionary_page
    data = (target / "data/shard-00000.parquet").read_bytes()
    for row in rows(target):
        assert len(row["payload"]).to_bytes(4, "little") + row["payload"] in data


def test_torch_keeps_its_threads(tmp_path: Path) -> None:
    """Where the caller's own process makes the shards."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        run(make_photos(tmp_path / "photos", ("cat",), 2), tmp_path / "latents")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
