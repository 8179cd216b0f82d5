# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed: nothing is lost, nothing comes twice, and the bytes are those of an undisturbed run."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from isthmus.datasets.storage import Place
from tests.datasets.photos import make_photos
from tests.datasets.test_transcode import files, rows, run

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
JOB = """
import sys
from isthmus.datasets import transcode
if __name__ == "__main__":
    transcode(sys.argv[1], sys.argv[2], codec="walloc-image-f8c12", workers=2, shard_size=2, progress=False)
"""


def begin(tmp_path: Path, target: Path) -> "subprocess.Popen[bytes]":
    script = tmp_path / "job.py"
    script.write_text(JOB)
    return subprocess.Popen([sys.executable, str(script), str(tmp_path / "photos"), str(target)])


def workers_of(job: int) -> list[int]:
    """Its workers, which a server forks for it (or which it has spawned), and that server."""
    try:
        family = psutil.Process(job).children(recursive=True)
        return [one.pid for one in family if {"forkserver", "spawn_main"} & set(re.findall(r"\w+", str(one.cmdline())))]
    except psutil.Error:
        return []


@posix
def test_workers_and_then_the_job_are_killed(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", each=10)
    run(tmp_path / "photos", tmp_path / "undisturbed", shard_size=2)
    target, chance = tmp_path / "latents", random.Random(5)
    for _ in range(2):
        job = begin(tmp_path, target)
        until = time.monotonic() + 60
        while len(list(target.glob("data/*.parquet"))) < 1 + chance.randrange(4) and time.monotonic() < until:
            time.sleep(0.02)
        workers = workers_of(job.pid)
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
        time.sleep(0.3 * chance.random())
        job.kill()
        job.wait()
        until = time.monotonic() + 30
        while any(map(psutil.pid_exists, workers)) and time.monotonic() < until:
            time.sleep(0.02)
        assert not any(map(psutil.pid_exists, workers)), "they outlive the job"
    assert begin(tmp_path, target).wait(120) == 0
    assert files(target) == files(tmp_path / "undisturbed")
    assert len({row["key"] for row in rows(target)}) == len(rows(target)) == 30


DEADLY = """
import os, signal, sys
from isthmus.media import kinds

read = kinds.read

def deadly(path, kind, options):
    if str(path).endswith("3.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path, kind, options)

kinds.read = deadly
from isthmus.datasets import transcode
if __name__ == "__main__":
    print(transcode(sys.argv[1], sys.argv[2], codec="walloc-image-f8c12", workers=1, progress=False).losses)
"""


@posix
def test_a_file_that_kills_its_reader_is_left_out(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", ("a",), 6)
    (tmp_path / "job.py").write_text(DEADLY)
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path / "photos"), str(tmp_path / "latents")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert "'a/3.png', 'the process that read it died" in told.stdout, told.stderr
    assert [row["key"] for row in rows(tmp_path / "latents")] == [f"a/{n}.png" for n in (0, 1, 2, 4, 5)]


@posix
def test_scripts_without_a_guard_are_told(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", ("a",), 2)
    (tmp_path / "job.py").write_text(JOB.replace('if __name__ == "__main__":', "if True:"))
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path / "photos"), str(tmp_path / "latents")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert told.returncode == 1 and "call transcode within" in told.stderr


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", ("a",), 3)
    run(tmp_path / "photos", tmp_path / "latents")
    left = tmp_path / "latents" / "data" / ".shard-00000.parquet.0123456789ab.part"
    left.write_bytes(b"half")
    assert Place(tmp_path / "latents").files("data") == ["shard-00000.parquet"]
    run(tmp_path / "photos", tmp_path / "latents")
    assert not left.exists()
