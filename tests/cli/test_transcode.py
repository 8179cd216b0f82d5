# SPDX-License-Identifier: Apache-2.0
"""`isthmus transcode`: what it says, and its exit status."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.datasets.photos import CODEC, make_photos

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", ("cat", "dog"), 3)


def test_a_folder(run: Run, photos: Path, tmp_path: Path) -> None:
    command = ("transcode", photos, tmp_path / "latents", "--codec", CODEC, "--workers", "0", "--quality", "60")
    status, out, err = run(*command, "--dry-run")
    assert status == 0 and "6 samples" in out and "with 1 worker;" in out and not (tmp_path / "latents").exists()
    status, _, err = run(*command)
    assert status == 0 and "6 samples in 1 shard," in err
    status, _, err = run(*command)
    assert status == 0 and "1 of 1 shards are there already" in err
    status, _, err = run(*command[:-1], "70")
    assert status == 2 and "'quality': 60" in err and "'quality': 70" in err


def test_what_is_left_out(run: Run, photos: Path, tmp_path: Path) -> None:
    for number in range(12):
        (photos / "cat" / f"b{number}.jpg").write_bytes(b"no image")
    status, _, err = run("transcode", photos, tmp_path / "latents", "--codec", CODEC, "--workers", "0")
    assert status == 3 and "left out cat/b0.jpg: " in err and "2 more are left out" in err and "12 left out" in err
    assert len((tmp_path / "latents" / "errors.jsonl").read_text().splitlines()) == 12


@pytest.mark.parametrize(
    "wrong",
    [("--codec", "nothing"), ("--engine", "dask"), ("--views", "turn"), ("--format", "zip"), ("--quality", "0")],
)
def test_what_is_refused(wrong: tuple[str, str], run: Run, photos: Path, tmp_path: Path) -> None:
    status, _, err = run("transcode", photos, tmp_path / "latents", *wrong)
    assert status == 2 and len(err.splitlines()) <= 2 and not (tmp_path / "latents").exists()


def test_help_names_sources_and_options(run: Run) -> None:
    status, out, _ = run("transcode", "--help")
    assert status == 0 and all(
        word in out for word in ("--quality", "--engine", "--views", "WebDataset", "errors.jsonl")
    )
