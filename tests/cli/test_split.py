# SPDX-License-Identifier: Apache-2.0
"""`isthmus split serve` and `send`."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isthmus.cli.split.serve import size
from isthmus.media.image import write_image
from isthmus.models.heads.saved import load_head
from isthmus.split.server.serving import Serving
from isthmus.training.heads.prediction import Predictor
from tests.split.conftest import CLASSES, DENSE, run_folder, save, serve, streams, tail
from tests.training.heads.conftest import photos

__all__ = ["run_folder", "serve", "streams", "tail"]  # fixtures

Run = Callable[..., tuple[int, str, str]]


def test_there_and_back(run: Run, serve: Callable[..., Serving], run_folder: Path, tmp_path: Path) -> None:
    photo, token, random = tmp_path / "photo.png", tmp_path / "token", np.random.default_rng(1)
    write_image(photo, random.integers(0, 256, (6, 9, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1))
    token.write_text("sesame\n")
    server = serve(token="sesame")
    status, out, err = run("split", "send", photo, "--url", server.url, "--token-file", token, "--json")
    assert status == 0, err
    told, expected = json.loads(out), Predictor(*load_head(run_folder)).file(photo)
    assert {name: told[name] for name in CLASSES} == pytest.approx(expected, abs=1e-5)
    predictor = Predictor(*load_head(run_folder))
    stream = tmp_path / "photo.ist"
    stream.write_bytes(predictor.codec.pack(predictor.read(photo)))
    assert told["bytes"] == stream.stat().st_size
    status, out, _ = run("split", "send", stream, "--url", server.url, "--token-file", token, "--top", "1")
    assert status == 0 and out.startswith(f"{stream}: {max(expected, key=expected.__getitem__)} ")
    status, _, err = run("split", "send", stream, "--url", server.url)
    assert status == 2 and "401: no right token" in err and len(err.splitlines()) == 1


def test_what_is_refused(run: Run, run_folder: Path, tmp_path: Path, serve: Callable[..., Serving]) -> None:
    (tmp_path / "token").write_text("two words")
    dense = save(tmp_path / "dense", **DENSE)
    taken = serve().url.rpartition(":")[2]
    for wrong, message in (
        ((tmp_path,), "no trained head"),
        ((dense,), "a head of dense"),
        ((run_folder, "--token-file", tmp_path / "token"), "no token"),
        ((run_folder, "--max-body", "much"), "expected a size such as"),
        ((run_folder, "--port", taken), "ddress already in use"),
    ):
        status, _, err = run("split", "serve", *wrong)
        assert status == 2 and message in err and len(err.splitlines()) == 1, err
    assert [size(text) for text in ("1000", "64KiB", "1MiB", "2 mb")] == [1000, 65536, 1 << 20, 2_000_000]


def test_a_signal_ends_it_well(run_folder: Path) -> None:
    command = [sys.executable, "-m", "isthmus", "split", "serve", run_folder, "--port", "0"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and "at http://127.0.0.1:" in server.stdout.readline()
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=30)
    assert server.returncode == 0 and "stopped, 0 requests answered" in out and not err


def test_a_training_in_two_parts(run: Run, tmp_path: Path) -> None:
    photographs, made, sent, again = photos(tmp_path / "photos", 5, 3), *(tmp_path / name for name in ("a", "b", "c"))
    small = ["tuning=1", "features=1", "size=64", "resize=64", "warmup=1"]
    told = [
        "--steps", "1", "--batch", "4", "--device", "cpu", "--workers", "0", *(f"--set={name}" for name in small)
    ]  # fmt: skip
    status, out, err = run(
        "train", "split", photographs, "--out", made, "--channels", "3", "--set=joint=1", "--set=contexts=0", *told
    )
    assert status == 0, err
    assert f"isthmus split serve {made}" in out
    status, _, err = run("transcode", photographs, sent, "--codec", made, "--crop", "64", "--workers", "0")
    assert status == 0, err
    tail = ["train", "split", "--tail", sent, "--out", again, "--epochs", "1", "--batch", "5", "--workers", "0"]
    status, _, err = run(*tail, "--init", made, "--device", "cpu")
    assert status == 0, err
    status, out, err = run("predict", again, photographs / "flat" / "0.png", "--json")
    assert status == 0 and json.loads(out).keys() >= {"flat", "rough"}, err
    linear = ["train", "split", photographs, "--out", tmp_path / "d", *told, "--bottleneck", "walloc-image-f8c12"]
    status, _, err = run(*linear, "--teacher", made)
    assert status == 0, err
    for wrong, message in (
        (["train", "split"], "name photographs, or --tail"), (tail, "--tail needs --init RUN"),
        (["train", "split", photographs, "--init", made], "--init and --epochs are for --tail"),
        ([*linear, "--channels", "3"], "leave --channels and --at"),
    ):  # fmt: skip
        status, _, err = run(*wrong)
        assert status != 0 and message in err
