# SPDX-License-Identifier: Apache-2.0
"""`isthmus weights`: what it prints, its status, and one clear line for bad input."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from isthmus import progress, weights
from tests.weights.sample_files import mixed, write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def weights_run(run: Run) -> Run:
    """Runs `isthmus weights ...`; what it says where kernels are not compiled yet is left out."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status, out, err = run("weights", *arguments)
        return status, out, "".join(line for line in err.splitlines(True) if "compiling kernels" not in line)

    return call


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "model.safetensors", mixed())
    return tmp_path / "model.safetensors"


def test_there_and_back(weights_run: Run, source: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "model.df.safetensors", tmp_path / "back.safetensors"
    status, out, err = weights_run("compress", source, packed, "--mode", "rans", "--threads", 2)
    assert (status, err) == (0, "") and f"{source.stat().st_size} to {packed.stat().st_size} bytes" in out
    assert "kept as they are: BOOL (1), F64 (1), I64 (1)" in out
    assert "was there already" in weights_run("compress", source, packed, "--mode", "rans")[1]
    assert weights_run("verify", packed)[1].startswith(f"{packed}: whole")
    assert weights_run("decompress", packed, back)[0] == 0
    assert back.read_bytes() == source.read_bytes()


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    """A folder with two shards and a file that is none."""
    (tmp_path / "model").mkdir()
    for name in ("a", "b"):
        shutil.copy(source, tmp_path / "model" / f"{name}.safetensors")
    (tmp_path / "model" / "vocab.txt").write_text("a b")
    return tmp_path / "model"


def damage(path: Path, tensor: str) -> None:
    """Flips a bit of the codes of a tensor."""
    file = weights.WeightFile(path).file
    place = len(file.bytes) - file.header.data_bytes + file.tensors[f"{tensor}.dfloat"].end - 40
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_folders(weights_run: Run, folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    status, out, err = weights_run("compress", folder, f"{packed}/")
    size, made = (folder / "a.safetensors").stat().st_size, (packed / "a.dfloat").stat().st_size
    lines = out.splitlines()
    assert (status, err) == (0, "") and lines[0].startswith(f"{packed}/a.dfloat: {size} to {made} bytes")
    assert lines[-2] == "other files copied as they are: 1, 3 bytes"
    assert lines[-1] == f"total of 2 files of weights: {2 * size} to {2 * made} bytes, {100 * made / size:.2f} %"
    shutil.copy(folder / "b.safetensors", packed / "adapter.safetensors")
    assert "adapter.safetensors: plain, so there is nothing to verify" in weights_run("verify", packed)[1]
    out = weights_run("decompress", packed, tmp_path / "back")[1]
    assert "adapter.safetensors" in out and "not compressed, as it was" in out and "total of 3 files of weights" in out
    assert "compressed already, as it was" in weights_run("compress", packed, tmp_path / "again")[1]


def test_sources_that_go(weights_run: Run, folder: Path, tmp_path: Path) -> None:
    for arguments in ((folder,), (folder, tmp_path / "x", "--in-place")):
        status, out, err = weights_run("compress", *arguments)
        assert (status, out) == (2, "") and "--in-place" in err and err.count("\n") == 1
    assert weights_run("compress", folder / "a.safetensors", tmp_path / "a.dfloat", "--delete-source")[0] == 0
    assert not (folder / "a.safetensors").exists()
    assert weights_run("compress", folder, "--in-place")[0] == 0
    assert sorted(p.name for p in folder.iterdir()) == ["b.dfloat", "vocab.txt"]


def test_the_lines_of_a_folder(weights_run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "x"}')
    (folder / "pytorch_model.bin").write_bytes(b"P" * 5000)
    (folder / "a.safetensors").rename(folder / "model.safetensors")
    for name in ("._a.safetensors", ".git", ".x", ".y"):
        (folder / name).write_text("litter")
    os.mkfifo(folder / "queue")
    packed = tmp_path / "packed"
    status, out, err = weights_run("compress", folder, packed)
    pickle = "of these pickles, perhaps of the same weights: pytorch_model.bin, 5000 bytes"
    assert status == 0 and f"other files copied as they are: 2, 5003 bytes; {pickle}" in out
    size = (packed / "config.json").stat().st_size
    assert f"{packed / 'config.json'}: 19 to {size} bytes, names the compressed weights" in out
    assert err.splitlines() == [
        "isthmus: left out, as they are hidden: 4 (._a.safetensors, .git, .x, ...)",
        "isthmus: left out, as they are no files: 1 (queue)",
    ]
    out = weights_run("decompress", packed, tmp_path / "back")[1]
    assert f"{tmp_path / 'back' / 'config.json'}: {size} to 19 bytes, the original again" in out
    assert weights_run("decompress", packed, tmp_path / "back")[1].count("was there already, verified") == 2
    for command in (("verify", folder), ("inspect", folder)):
        assert "left out, as they are hidden: 4" in weights_run(*command)[2]
    total = weights_run("compress", folder, "--in-place")[1].splitlines()[-1]
    again = weights_run("compress", folder, "--in-place")[1]
    assert again.splitlines()[-1] == total and again.count("compressed already, verified") == 2
    damage(folder / "b.dfloat", "large")
    status, _, err = weights_run("compress", folder, "--in-place")
    assert status == 2 and "b.dfloat: tensor 'large'" in err


def test_verify_refuses_what_it_cannot_vouch_for(weights_run: Run, folder: Path, tmp_path: Path) -> None:
    names = {"x": "a.safetensors", "y": "b.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    weights.compress(folder, tmp_path / "packed")
    assert weights_run("verify", tmp_path / "packed")[0] == 0
    (tmp_path / "packed" / "b.dfloat").unlink()
    for words in ("shard b.safetensors is not there", "b.safetensors is plain"):
        status, out, err = weights_run("verify", tmp_path / "packed")
        assert (status, out) == (2, "") and words in err and err.count("\n") == 1
        shutil.copy(folder / "b.safetensors", tmp_path / "packed")


def test_targets_that_are_taken(weights_run: Run, source: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "vocab.txt").write_text("other")
    for arguments in ((source, tmp_path / "notes.txt"), (folder, tmp_path / "o")):
        status, out, err = weights_run("compress", *arguments)
        assert (status, out) == (2, "") and "exists already" in err and "delete it or choose another" in err
    assert (tmp_path / "notes.txt").read_text() == "notes" and os.listdir(tmp_path / "o") == ["vocab.txt"]
    status, _, err = weights_run("compress", folder, "--in-place", "--delete-source")
    assert status == 2 and "--delete-source is for a target" in err
    with pytest.raises(ValueError, match="in_place replaces the source"):
        weights.compress(folder, in_place=True, delete_source=True)


@pytest.mark.parametrize("command", ["compress", "decompress", "verify"])
def test_what_is_said_when_it_is_stopped(
    weights_run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    weights.compress(folder, tmp_path / "packed")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, command, stop)
    goes_on = command != "verify"
    target = (tmp_path / "x",) if goes_on else ()
    words = "isthmus: stopped; run the same command again to go on\n" if goes_on else "isthmus: stopped\n"
    status, _, err = weights_run(command, tmp_path / "packed", *target)
    assert status == 130 and err.endswith(words)
    assert weights_run(command, tmp_path / "packed" / "a.dfloat", *target)[2].endswith("isthmus: stopped\n")


def test_patterns(weights_run: Run, source: Path, tmp_path: Path) -> None:
    chosen = ("--include", "layer.*", "--include", "large", "--exclude", "*.bias")
    assert weights_run("compress", source, tmp_path / "x", *chosen)[0] == 0
    file = weights.WeightFile(tmp_path / "x")
    assert [name for name in file.original if file.is_coded(name)] == ["layer.weight", "large"]
    assert "was there already" in weights_run("compress", source, tmp_path / "x", *chosen)[1]
    assert "was there already" not in weights_run("compress", source, tmp_path / "x")[1]
    status, _, err = weights_run("compress", source, tmp_path / "x", "--exclude", "*.emded.*")
    assert status == 2 and "no tensor's name matches '*.emded.*'" in err and err.count("\n") == 1


def test_dry_run(weights_run: Run, folder: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    status, out, err = weights_run("compress", folder, "--dry-run", "--exclude", "layer.bias")
    assert (status, err) == (0, "") and sorted(tmp_path.rglob("*")) == before
    told = int(out.split(" to ")[1].split()[0])
    done = weights.compress(folder, tmp_path / "x", exclude=["layer.bias"])
    assert told == pytest.approx(sum(one.target_bytes for one in done), rel=0.02)
    assert "left out by --include and --exclude: 2048 bytes in 2 tensors" in out
    assert "I64 is never coded: 1600 bytes in 2 tensors" in out
    found = weights.estimate(tmp_path / "x")
    assert found.raw == {"compressed already": (22, found.source_bytes)} and found.target_bytes == found.source_bytes


def test_compiling_is_said_once(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "isthmus", "weights", "compress", source]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    told = [
        subprocess.run([*command, tmp_path / name], env=environment, capture_output=True, text=True, check=True).stderr
        for name in "xy"
    ]
    assert told == ["isthmus: compiling kernels for this machine, once: some seconds\n", ""]


def test_progress_without_a_terminal(
    weights_run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0)
    err = weights_run("compress", source, tmp_path / "x")[2]
    assert err.splitlines()[-1].endswith(" MB, 100 %")


def test_deltas(weights_run: Run, source: Path, tmp_path: Path) -> None:
    delta = tmp_path / "delta.safetensors"
    assert weights_run("compress", source, delta, "--base", source)[0] == 0
    assert weights.WeightFile(delta).source["mode"] == "rans"
    status, _, err = weights_run("verify", delta)
    assert status == 2 and "--base" in err and err.count("\n") == 1
    assert weights_run("verify", delta, "--base", source)[0] == 0


def test_inspect(weights_run: Run, source: Path, tmp_path: Path) -> None:
    status, out, _ = weights_run("inspect", source)
    assert status == 0 and "layer.weight [300, 256]" in out and out.splitlines()[-1].startswith("11 tensors")
    picture = tmp_path / "bits.png"
    told = json.loads(weights_run("inspect", source, "--json")[1])
    assert told["total"]["tensors"] == 11 and told["tensors"][1]["name"] == "layer.weight"
    assert weights_run("inspect", source, "--plot", picture)[0] == 0
    with Image.open(picture) as image:
        assert image.format == "PNG" and image.width > 500
    status, _, err = weights_run("inspect", source, "--plot", tmp_path / "bits.jpg")
    assert status == 2 and ".png" in err
    status, out, err = weights_run("inspect", source, "--plot", tmp_path / "absent" / "bits.png")
    assert (status, out) == (2, "") and "absent does not exist" in err


def test_inspect_names_the_damaged_file(weights_run: Run, folder: Path) -> None:
    weights.compress(folder, folder.with_name("packed"))
    damage(folder.with_name("packed") / "b.dfloat", "large")
    status, out, err = weights_run("inspect", folder.with_name("packed"))
    assert (status, out) == (2, "") and "packed/b.dfloat: tensor 'large': " in err and err.count("\n") == 1


def test_bad_input(weights_run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(source.read_bytes()[:-1])
    for arguments in (
        ("compress", tmp_path / "absent.safetensors", tmp_path / "x"),
        ("compress", tmp_path / "broken.safetensors", tmp_path / "x"),
        ("compress", source, tmp_path / "x", "--mode", "zip"),
        ("decompress", source, tmp_path / "x"),
        ("verify", source),
        ("inspect", tmp_path / "broken.safetensors"),
    ):
        status, out, err = weights_run(*arguments)
        assert (status, out) == (2, "") and err.startswith("isthmus: ") and err.count("\n") == 1, arguments
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", ["compress", "decompress", "verify", "inspect"])
def test_help_shows_an_example(weights_run: Run, command: str) -> None:
    status, out, _ = weights_run(command, "--help")
    assert status == 0 and f"isthmus weights {command} " in out
