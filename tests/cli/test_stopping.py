# SPDX-License-Identifier: Apache-2.0
"""Commands that are stopped while they write: an exit status that says so, and nothing half-written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Encodes, and waits with the file open, as a slow disk would make it.
SLOW = """
import sys, time
from isthmus import files
from isthmus.cli.main import main

def write(path, data):
    with files.atomic_file(path) as file:
        file.write(data[:3])
        print("writing", flush=True)
        time.sleep(60)

files.atomic_write = write
sys.argv = ["isthmus", "encode", {source!r}, {target!r}]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_nothing_is_left(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "a.ppm", tmp_path / "out" / "a.ist"
    source.write_bytes(b"P6 16 16 255\n" + bytes(768))
    target.parent.mkdir()
    target.write_bytes(b"older")
    code = SLOW.format(source=str(source), target=str(target))
    number = getattr(signal, name)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(number)
        assert process.stderr.read().splitlines()[-1:] == [b"isthmus: stopped"]
    assert process.returncode == 128 + number
    assert [p.name for p in target.parent.iterdir()] == ["a.ist"] and target.read_bytes() == b"older"


# Stopped again while it removes what it has begun.
CLEANING = """
import os, signal, time
from isthmus.cli.stopping import stop_as_interrupts_do
stop_as_interrupts_do()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except KeyboardInterrupt:
    for number in (signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    print("cleaned")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_the_second_signal_does_not_stop_what_cleans_up() -> None:
    assert subprocess.check_output([sys.executable, "-c", CLEANING], timeout=60) == b"cleaned\n"
