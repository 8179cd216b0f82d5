# SPDX-License-Identifier: Apache-2.0
"""Ray's actors, and destinations that take nothing more."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from isthmus.datasets import transcode
from isthmus.datasets.storage import Place
from isthmus.errors import UnwritableFileError
from tests.datasets.photos import CODEC, make_photos
from tests.datasets.test_transcode import files, rows, run


@pytest.mark.filterwarnings("ignore")  # of Ray itself
def test_actors_of_ray_of_which_one_is_killed(tmp_path: Path) -> None:
    import psutil
    import ray

    source = make_photos(tmp_path / "photos")
    run(source, tmp_path / "undisturbed", shard_size=2)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    killed: list[int] = []

    def kill_one(*_: Any) -> None:
        for process in psutil.process_iter(["cmdline", "pid"]):
            if not killed and "ray::ShardActor.build" in " ".join(process.info["cmdline"] or ()):
                os.kill(process.info["pid"], signal.SIGKILL)
                killed.append(process.info["pid"])

    try:
        from isthmus.datasets.watch import Watch

        done = Watch.done
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Watch, "done", lambda watch, answer: (done(watch, answer), kill_one())[0])
            given: dict[str, Any] = {"codec": CODEC, "workers": 2, "progress": False, "shard_size": 2}
            report = transcode(source, tmp_path / "latents", engine="ray", **given)
        assert report.complete and report.made == 12
        assert transcode(source, tmp_path / "latents", engine="ray", **given).made == 0
    finally:
        ray.shutdown()
    assert killed, "no actor was found at work"
    assert files(tmp_path / "latents") == files(tmp_path / "undisturbed")


def test_a_full_disk_ends_a_run_that_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make_photos(tmp_path / "photos"), tmp_path / "latents"
    flush, left = os.fsync, [6]

    def full(number: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UnwritableFileError, match="no space left"):
            run(source, target)
    there = len(Place(target).files("data"))
    assert 0 < there < 3 and not list(target.rglob("*.part"))
    assert run(source, target).made == 3 - there
    assert len(rows(target)) == 24


def test_a_destination_that_cannot_be_written(tmp_path: Path) -> None:
    source = make_photos(tmp_path / "photos", ("a",), 1)
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableFileError, match="is a file"):
        run(source, tmp_path / "file" / "latents")
    with pytest.raises(UnwritableFileError):
        run(source, "/proc/latents")
