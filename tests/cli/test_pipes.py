# SPDX-License-Identifier: Apache-2.0
"""Commands between pipes, targets that must not be replaced, and what is checked before long work."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from isthmus.samples import ASTRONAUT
from tests.cli.test_main import Run

ISTHMUS = f"{sys.executable} -m isthmus"


def shell(command: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, capture_output=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With picture.ppm, a small one."""
    (tmp_path / "picture.ppm").write_bytes(b"P6 24 16 255\n" + bytes(range(256)) * 4 + bytes(128))
    return tmp_path


def test_images_through_pipes(folder: Path) -> None:
    done = shell(f"cat picture.ppm | {ISTHMUS} encode - - -q 60 | {ISTHMUS} decode - - > out.png", folder)
    assert done.returncode == 0, done.stderr
    assert b"-: 24x16" in done.stderr and done.stdout == b"" and not (folder / "-").exists()
    done = shell(
        f"{ISTHMUS} encode <(cat picture.ppm) direct.ist -q 60; {ISTHMUS} decode direct.ist direct.png", folder
    )
    assert (folder / "direct.png").read_bytes() == (folder / "out.png").read_bytes()
    done = shell(f"{ISTHMUS} encode picture.ppm >(cat > fd.ist) -q 60; sleep 1; cat direct.ist > /dev/stdout", folder)
    assert done.stdout.endswith((folder / "fd.ist").read_bytes())
    done = shell(f"{ISTHMUS} encode picture.ppm /dev/stdout -q 60", folder)
    assert done.stdout == (folder / "direct.ist").read_bytes()
    done = shell(f"{ISTHMUS} inspect - < direct.ist", folder)
    assert b'"quality": 60' in done.stdout
    done = shell(f"echo text | {ISTHMUS} encode - out.ist", folder)
    assert done.returncode == 2 and done.stderr.startswith(b"isthmus: standard input: of no kind that is read")
    assert b"looks like text" in done.stderr and b"sound (WAV" in done.stderr
    done = shell(f"head -c 60 direct.ist | {ISTHMUS} decode - x.png", folder)
    assert done.returncode == 2 and done.stderr.startswith(b"isthmus: standard input: chunk 'D'")
    assert b"read_chunks" not in done.stderr and not (folder / "x.png").exists()


def test_open_files_go_on_where_they_are(folder: Path) -> None:
    command = f"{{ echo header; {ISTHMUS} encode picture.ppm /dev/stdout; echo trailer; }} > log"
    assert shell(command, folder).returncode == 0
    log = (folder / "log").read_bytes()
    assert log.startswith(b"header\n") and log.endswith(b"trailer\n") and len(log) > 60
    before = (folder / "picture.ppm").read_bytes()
    done = shell(f"{ISTHMUS} encode - picture.ppm < picture.ppm", folder)
    assert done.returncode == 2 and (folder / "picture.ppm").read_bytes() == before
    for closed in ("encode picture.ppm - >&-", "encode - x.ist <&-", "decode - x.png <&-"):
        done = shell(f"{ISTHMUS} {closed}", folder)
        assert done.returncode == 2 and b"is closed: give a file" in done.stderr
    assert not (folder / "x.ist").exists()


def test_weights_through_pipes(folder: Path) -> None:
    save_file({"w": torch.randn(300, 300, generator=torch.Generator().manual_seed(0)).bfloat16()}, folder / "w")
    command = f"cat w | {ISTHMUS} weights compress - - | tee packed | {ISTHMUS} weights decompress - -"
    done = shell(command, folder)
    assert done.returncode == 0 and done.stdout == (folder / "w").read_bytes(), done.stderr
    assert b"-: 180080 to" in done.stderr
    done = shell(f"{ISTHMUS} weights verify - < packed; {ISTHMUS} weights inspect - < packed", folder)
    assert b"-: whole" in done.stdout and b"1 tensors" in done.stdout


def test_the_input_is_never_the_output(run: Run, folder: Path) -> None:
    picture = folder / "picture.ppm"
    (folder / "link.ist").symlink_to(picture)
    os.link(picture, folder / "hard.ist")
    before = picture.read_bytes()
    for target in (picture, folder / "link.ist", folder / "hard.ist"):
        status, _, err = run("encode", picture, target)
        assert status == 2 and "is the input, which would be replaced" in err
    assert run("encode", picture, folder / "a.ist")[0] == 0
    status, _, err = run("decode", folder / "a.ist", folder / "a.ist")
    assert status == 2 and picture.read_bytes() == before
    assert run("compare", ASTRONAUT, "--out", ASTRONAUT)[0] == 2 and ASTRONAUT.is_file()


def test_modes_are_kept(run: Run, folder: Path) -> None:
    target = folder / "a.ist"
    target.write_bytes(b"older")
    target.chmod(0o640)
    assert run("encode", folder / "picture.ppm", target)[0] == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
def test_names_of_other_encodings(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.ppm")
    (folder / name).write_bytes((folder / "picture.ppm").read_bytes())
    done = shell(f"{ISTHMUS} encode caf*.ppm $'caf\\xe9.ist' && {ISTHMUS} decode $'caf\\xe9.ist' out.png", folder)
    assert done.returncode == 0 and b"caf\xe9.ist: 24x16" in done.stdout
    done = shell(f"{ISTHMUS} decode $'\\xff.ist' out.png", folder)
    assert done.returncode == 2 and done.stderr.startswith(b"isthmus: \xff.ist: cannot be read")
    done = shell(f"{ISTHMUS} decode $'\\x1b[31m.ist' out.png", folder)
    assert done.returncode == 2 and done.stderr.startswith(b"isthmus: ?[31m.ist: cannot be read")
    names = folder / "names"
    names.mkdir()
    (folder / name).rename(names / name)
    done = shell(f"{ISTHMUS} bench image names --out bench --codec walloc-image-f8c12", folder)
    assert done.returncode == 0 and b"caf\xe9.ppm" in (folder / "bench" / "rows.csv").read_bytes()
    settings = "--steps 0 --batch 1 --device cpu --set crop=8"
    done = shell(f"{ISTHMUS} train codec names --out run {settings}", folder)
    assert b"codec can't encode" not in done.stderr


def test_what_is_checked_before_the_work(run: Run, folder: Path, tmp_path: Path) -> None:
    train = ["train", "codec", folder, "--steps", "1", "--batch", "1", "--device", "cpu", "--out", tmp_path / "run"]
    for setting, message in {
        "gain_levels=1": "gain_levels = 1, expected 2 to 100",
        "crop=100": "crop = 100, expected a multiple of 8",
        "kernel=4": "kernel = 4, expected an odd number",
        "lambda_low=0": "lambda_low = 0.0, expected more than 0",
        "context_steps=0": "context_steps = 0, expected at least 1",
    }.items():
        status, _, err = run(*train, "--set", setting)
        assert status == 2 and message in err, err
    context = ["train", "context", folder, "--weights", "walloc-image-f8c12", "--steps", "1"]
    assert "must end in .safetensors" in run(*context, "--out", tmp_path / "x.bin")[2]
    assert "does not exist" in run(*context, "--out", tmp_path / "absent" / "x.safetensors")[2]
    own = tmp_path.parent / f"{tmp_path.name}-own.safetensors"
    own.write_bytes(b"weights")
    mine = ["train", "context", folder, "--weights", own, "--out", own, "--steps", "1"]
    assert "is the codec itself" in run(*mine)[2] and own.read_bytes() == b"weights"
    assert "CUDA devices" in run(*context, "--out", tmp_path / "x.safetensors", "--device", "cuda:99")[2]
    assert "does not exist" in run("bench", "image", folder, "--out", tmp_path / "absent" / "bench")[2]
    assert "is a file" in run("bench", "image", folder, "--out", folder / "picture.ppm")[2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["picture.ppm"]


def test_the_version(run: Run) -> None:
    status, out, _ = run("--version")
    assert status == 0 and out.startswith("isthmus ") and out[8].isdigit()
