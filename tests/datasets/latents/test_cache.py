# SPDX-License-Identifier: Apache-2.0
"""Caches: the same integers again, filled at once, by several workers, after a kill, and never those of another set."""

import os
import pickle
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from isthmus.datasets import LatentDataset, collate
from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.media.image import read_image, write_image
from tests.datasets.latents.made import Made, images


def check_all(data: LatentDataset, made: Made, dtype: torch.dtype | None = None) -> None:
    for sample, planes, key in zip(data.__getitems__(range(len(data))), made.planes, made.keys, strict=True):
        assert sample["key"] == key
        for name, plane in planes.items():
            assert np.array_equal(sample[name], plane) and dtype in (None, sample[name].dtype)


@pytest.mark.parametrize("name", ["same", "mixed", "sounds"])
def test_a_cache_holds_the_same_integers(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made: Made = request.getfixturevalue(name)
    told: list[int] = []
    data = LatentDataset(made.path).cache(tmp_path / "cache", progress=told.append)
    assert sum(told) == len(made.streams)
    check_all(data, made)
    again = LatentDataset(made.path, cache=tmp_path / "cache")
    assert again._cache is not None and again._cache.sealed
    check_all(pickle.loads(pickle.dumps(again)), made)
    assert torch.equal(again[3]["y"], data[3]["y"]) and list(again[3]) == list(LatentDataset(made.path)[3])
    order = np.random.default_rng(1).permutation(len(data))[:5].tolist()
    for sample, index in zip(again.__getitems__(order), order, strict=True):
        assert np.array_equal(sample["y"], made.planes[index]["y"])


def test_small_integers_take_a_byte(same: Made, tmp_path: Path) -> None:
    """int8 where the manifest says so, and one array that others map too."""
    data = LatentDataset(same.path).cache(tmp_path / "cache")
    small = all(p["y"].min() >= -128 and p["y"].max() <= 127 for p in same.planes)
    assert small and data[0]["y"].dtype == torch.int8
    check_all(data, same, torch.int8)
    assert (tmp_path / "cache").stat().st_size == 8192 + 53 * 12 * 8 * 8
    mapped = np.memmap(tmp_path / "cache", np.int8, "r", 8192, (53, 12, 8, 8))
    assert np.array_equal(mapped[52], same.planes[52]["y"])
    floats = data.dequantize(next(iter(DataLoader(data, 53))))["y"]
    assert torch.equal(floats[9], same.codec.unpack(same.streams[9]).dequantize()["y"])


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("name", ["same", "mixed"])
def test_workers_fill_a_cache_together(name: str, context: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if (name, context) == ("same", "spawn"):
        pytest.skip("starting processes takes long, and mixed is the harder one")
    made: Made = request.getfixturevalue(name)
    data = LatentDataset(made.path, cache=tmp_path / "cache")
    options = {"multiprocessing_context": context, "persistent_workers": True, "collate_fn": collate}
    loader = DataLoader(data, 5, shuffle=True, num_workers=2, **options)
    for _ in range(2):
        assert sorted(key for batch in loader for key in batch["key"]) == sorted(made.keys)
    assert data._cache is not None and data._cache.present(np.arange(len(data))).all() and not data._cache.sealed
    check_all(data, made)
    assert LatentDataset(made.path, cache=tmp_path / "cache")._cache.sealed  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["same", "mixed"])
def test_a_killed_fill_goes_on(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made: Made = request.getfixturevalue(name)
    for wait in (1, 7, 20):
        child = os.fork()
        if child == 0:
            data = LatentDataset(made.path, cache=tmp_path / "cache")
            (tmp_path / f"begun{wait}").touch()
            for i in range(len(data)):
                if i == wait:
                    (tmp_path / f"there{wait}").touch()
                data[i]
                time.sleep(0.002)
            os._exit(0)
        while not (tmp_path / f"there{wait}").exists():
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    data = LatentDataset(made.path, cache=tmp_path / "cache")
    assert data._cache is not None and data._cache.present(np.arange(len(data))).sum() > 0
    data.cache(tmp_path / "cache")
    assert data._cache.sealed
    check_all(data, made)


def test_what_a_crash_of_the_system_left_is_seen(same: Made, tmp_path: Path) -> None:
    """Entries that reached the disk before the integers they tell of."""
    data = LatentDataset(same.path, cache=tmp_path / "cache")
    data.__getitems__(range(20))
    with open(tmp_path / "cache", "r+b") as file:
        file.seek(8192 + 3 * 768)
        file.write(bytes(768))
    with pytest.raises(CorruptStreamError, match=r"cache: sample 3 is damaged: delete it and it is made again"):
        data[3]


def test_a_cache_of_something_else_is_refused(same: Made, copied: Made, mixed: Made, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    LatentDataset(same.path).cache(cache)
    check_all(LatentDataset(copied.path, cache=cache), copied)  # a copy of the same set
    with pytest.raises(UnreadableFileError, match="a cache of 53 samples of data set .* delete it, or name another"):
        LatentDataset(mixed.path, cache=cache)
    whole = cache.read_bytes()
    for damaged, message in [
        (whole[:9000], "it was cut"),
        (b"PK" + whole[2:], "not a cache of latents"),
        (whole.replace(b'"rank": 3', b'"rank": 7'), "not a cache of latents"),
        (b"", "not a cache of latents"),
    ]:
        cache.write_bytes(damaged)
        with pytest.raises(CorruptStreamError, match=message):
            LatentDataset(same.path, cache=cache)


def test_a_manifest_that_lies_about_values(copied: Made, tmp_path: Path) -> None:
    text = (copied.path / "manifest.json").read_text()
    (copied.path / "manifest.json").write_text(text.replace('"shape": [\n    12,\n    8', '"shape": [\n    12,\n    9'))
    with pytest.raises(CorruptStreamError, match=r"sample 0 has plane y of \(12, 8, 8\).* its manifest lies"):
        LatentDataset(copied.path).cache(tmp_path / "cache")


@pytest.fixture
def photos(astronaut: np.ndarray, tmp_path: Path) -> Path:
    for i, crop in enumerate(images(astronaut, 9, ((64, 64), (48, 80)))):
        folder = tmp_path / "photos" / ("cats" if i % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{i}.png", crop)
    return tmp_path / "photos"


def test_a_plain_folder_is_encoded_in_the_first_epoch(photos: Path, codec: Any, tmp_path: Path) -> None:
    data = LatentDataset(photos, codec=codec.name, quality=30, cache=tmp_path / "cache")
    assert data.classes == ["cats", "dogs"] and len(data) == 9
    keys = [path.relative_to(photos).as_posix() for path in photos.rglob("*.png")]
    expected = {key: codec.analyze(read_image(photos / key), quality=30) for key in keys}
    for epoch in range(2):
        for i in range(9):
            sample = data[i]
            assert torch.equal(sample["y"], expected[sample["key"]].planes["y"])
            assert data.classes[sample["label"]] == sample["key"].split("/")[0]
        if epoch == 0:
            shutil.move(photos, tmp_path / "away")  # the second epoch needs no files
    shutil.move(tmp_path / "away", photos)
    assert torch.equal(data.dequantize(data[2])["y"], expected[data[2]["key"]].dequantize()["y"])
    assert data.to_samples(2, output="numpy").shape[2] == 3
    with pytest.raises(UnreadableFileError, match="delete it, or name another"):
        LatentDataset(photos, codec=codec.name, quality=31, cache=tmp_path / "cache")


def test_a_plain_folder_is_resized_and_cropped(photos: Path, codec: Any) -> None:
    data = LatentDataset(photos, codec=codec.name, crop=40, resize=44)
    batch = next(iter(DataLoader(data, 9, num_workers=1)))
    assert batch["y"].shape == (9, 12, 5, 5)
    (photos / "cats" / "1.png").write_bytes(b"no image")
    with pytest.raises(UnreadableFileError, match=r"cats/1\.png"):
        LatentDataset(photos, codec=codec.name)[0]
