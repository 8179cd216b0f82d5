# SPDX-License-Identifier: Apache-2.0
"""Six steps on two small images: they run, go on after a stop as if there had been none, and end in a codec."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.cli import main
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.media.image import write_image
from isthmus.models.walloc.image import WallocConfig
from isthmus.optim.loop import LoopSettings
from isthmus.training.data.crops import ImageBank
from isthmus.training.walloc import recipes
from isthmus.training.walloc.export import export
from isthmus.training.walloc.trainer import CodecTrainer, TrainingConfig

TINY = TrainingConfig(
    model=WallocConfig(latent_channels=5, width=8, blocks=1, gain_levels=4),
    steps=6, batch=4, crop=64, warmup=2, noise_fraction=0.5, context_steps=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, (y, x) in enumerate(((60, 180), (300, 100))):
        write_image(folder / f"{number}.png", astronaut[y : y + 96, x : x + 80])
    return folder


def trainer(images: Path, config: TrainingConfig = TINY, *, validate: bool = False) -> CodecTrainer:
    torch.rand(int(torch.randint(1, 9, ())))  # whatever was drawn before, a training has a seed of its own
    bank = ImageBank.load(sorted(images.iterdir()), config.crop, torch.device("cpu"))
    return CodecTrainer(config, bank, list(bank) if validate else [], compiled=False)


def run(trainer: CodecTrainer, folder: Path, **options: float) -> bool:
    settings: dict[str, Any] = {"save_minutes": 60.0, "validate_every": 3} | options
    return trainer.run(folder, LoopSettings(trainer.config.steps, **settings))


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CodecTrainer, Path]:
    """A training that ran through, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    done = trainer(images, validate=True)
    assert run(done, folder)
    return done, folder


def test_a_whole_training(finished: tuple[CodecTrainer, Path]) -> None:
    done, folder = finished
    assert done.state.step == 6 and done.state.seconds > 0 and done.state.devices[0].startswith("CPU")
    rows = list(csv.DictReader((folder / "validation.csv").read_text().splitlines()))
    assert sorted({int(r["step"]) for r in rows}) == [0, 3, 6]
    for step in (0, 3, 6):
        curve = [(float(r["bits_per_pixel"]), float(r["psnr"])) for r in rows if int(r["step"]) == step]
        assert curve == sorted(curve) and all(0 < rate < 6 and 18 < psnr < 45 for rate, psnr in curve)
    assert (folder / "validation.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    for name, value in done.state.modules.state_dict().items():
        assert value.isfinite().all(), name


@pytest.mark.parametrize("stops", [(0,), (1, 2, 3, 4, 5), (4,)])
def test_a_stopped_training_ends_at_the_same_weights(
    images: Path, tmp_path: Path, finished: tuple[CodecTrainer, Path], monkeypatch: pytest.MonkeyPatch,
    stops: tuple[int, ...],
) -> None:  # fmt: skip
    """Killed at any step, by a stop that saves or by one that falls back to the last checkpoint."""
    for stop in stops:
        part = trainer(images)
        if stop == 0:
            assert not run(part, tmp_path, minutes=0.0)
            assert part.state.step == 0
            continue
        whole_step = part.step

        def killed(part: CodecTrainer = part, stop: int = stop, whole_step: object = whole_step) -> object:
            if part.state.step == stop:
                raise KeyboardInterrupt
            return whole_step()  # type: ignore[operator]

        monkeypatch.setattr(part, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(part, tmp_path, save_minutes=-1.0)  # saves after every step
    last = trainer(images)
    assert run(last, tmp_path)
    expected = finished[0].state
    assert last.state.step == 6
    for name, value in expected.modules.state_dict().items():
        assert torch.equal(last.state.modules.state_dict()[name], value), name
        assert torch.equal(last.state.average[name], expected.average[name]), name


def test_a_finished_training_stays(images: Path, finished: tuple[CodecTrainer, Path]) -> None:
    again = trainer(images)
    assert run(again, finished[1]) and again.state.step == 6
    assert all(torch.equal(again.state.average[k], v) for k, v in finished[0].state.average.items())


def test_other_settings_are_refused(images: Path, finished: tuple[CodecTrainer, Path]) -> None:
    with pytest.raises(ValueError, match=r"other settings \(steps, seed, lambda_high\)"):
        run(trainer(images, replace(TINY, steps=7, seed=1, lambda_high=0.1)), finished[1])


def test_other_seeds_begin_elsewhere(images: Path) -> None:
    first, other = trainer(images), trainer(images, replace(TINY, seed=1))
    for name in ("network.embed.weight", "analysis.weight"):
        assert not torch.equal(first.model.state_dict()[name], other.model.state_dict()[name])


def test_training_lowers_the_loss(images: Path) -> None:
    longer = trainer(images, replace(TINY, steps=40, warmup=3, noise_fraction=0.0))
    x = longer.bank.sample(16, 64, torch.Generator().manual_seed(0))
    level = torch.linspace(0, 3, 16)
    with torch.no_grad():
        before = float(longer._loss(x, level, False)[0])
        for _ in range(40):
            with torch.enable_grad():
                longer.step()
        after = float(longer._loss(x, level, False)[0])
    assert after < 0.999 * before


def test_loss_is_rate_plus_distortion(images: Path) -> None:
    start = trainer(images)
    x = start.bank.sample(1, 64, torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
    level = torch.tensor([0.5, 2.5])
    loss, bits_per_pixel, mse = start._loss(x, level, False)
    lam = TINY.lambdas(level)
    torch.testing.assert_close(loss.detach(), ((bits_per_pixel + lam * mse) / lam.sqrt()).mean())
    assert TINY.lambdas(torch.tensor([0.0, 3.0])).tolist() == pytest.approx([TINY.lambda_low, TINY.lambda_high])
    assert bits_per_pixel[0] < bits_per_pixel[1] and mse[0] > mse[1]


def test_learning_rate() -> None:
    factors = [TINY.learning_factor(step) for step in range(7)]
    assert factors[0] < factors[1] and factors[1:] == sorted(factors[1:], reverse=True)
    assert factors[-1] == pytest.approx(0.01) and max(factors) <= 1


def test_export(images: Path, finished: tuple[CodecTrainer, Path], tmp_path: Path, astronaut: np.ndarray) -> None:
    done = finished[0]
    files = sorted(images.iterdir())
    path = export(tmp_path, "walloc-tiny", done.averaged(), TINY, files, done.bank, {"seconds": 3})
    codec = isthmus.load(str(path))
    assert isinstance(codec, WallocImageCodec)
    for name, value in done.averaged().state_dict().items():
        assert torch.equal(codec.model.state_dict()[name], value)
    image = astronaut[60:156, 180:260]
    data = codec.encode(image, quality=80)
    assert codec.pack(codec.unpack(data)) == data
    error = codec.decode(data, output="numpy").astype(float) - image
    assert 10 * np.log10(255**2 / np.square(error).mean()) > 22
    recipe = json.loads((tmp_path / "walloc-tiny.json").read_text())
    assert recipe["weights_hash"] == codec.weights_hash and recipe["tables"] == codec.tables_hashes
    assert recipe["training"]["steps"] == 6 and recipe["seconds"] == 3 and set(recipe["images"]) == {"0", "1"}


def test_the_command(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(recipes.RECIPES, "walloc-image-f8c12", TINY)
    out = tmp_path / "run"
    arguments = ["train", "codec", images, "--name", "walloc-image-f8c12", "--out", out, "--device", "cpu"]
    for minutes, weights in (("0", False), ("inf", True)):
        monkeypatch.setattr(sys, "argv", ["isthmus", *map(str, arguments), "--minutes", minutes])
        with pytest.raises(SystemExit) as stop:
            main.main()
        assert not stop.value.code
        assert (out / "walloc-image-f8c12.safetensors").exists() == weights
    assert "isthmus.load(" in capsys.readouterr().out
    assert isthmus.load(str(out / "walloc-image-f8c12.safetensors")).codec_id == "walloc.2"
