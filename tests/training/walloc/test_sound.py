# SPDX-License-Identifier: Apache-2.0
"""A few steps on short sounds: they run, go on after a stop as if there had been none, and end in a codec."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import UnreadableFileError
from isthmus.media import audio
from isthmus.models.walloc.audio import WallocAudio, WallocAudioConfig, quantize
from isthmus.optim.loop import LoopSettings
from isthmus.signals import AudioSignal
from isthmus.training.data.sound import PEAK, SoundBank, load_sound, pair_of, read_all
from isthmus.training.walloc import RECIPES, train
from isthmus.training.walloc.audio import run
from isthmus.training.walloc.audio.klt import initialize
from isthmus.training.walloc.audio.trainer import AudioTrainer, AudioTrainingConfig
from tests.codecs.walloc.audio.tiny import tones

TINY = AudioTrainingConfig(
    model=WallocAudioConfig(6, factor=16, width=8, blocks=1, kernel=3, gain_levels=3),
    steps=6, batch=4, frames=32, warmup=2, context_steps=7, context_minutes=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("songs")
    for number, (channels, rate) in enumerate(((2, 44_100), (1, 48_000), (1, 22_050))):
        audio.write(place / f"{number}.wav", tones(channels, 20_000, number), AudioSignal(rate, channels))
    (place / "notes.txt").write_text("litter")
    return place


def test_a_training_from_a_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.wav").write_bytes(b"RIFF")
    try:
        with pytest.warns(UserWarning, match="left out"):
            path = train("walloc-audio-tiny", TINY, folder, tmp_path, validation=folder / "0.wav")
    finally:
        (folder / "broken.wav").unlink()
    assert path is not None
    codec = isthmus.load(str(path))
    sound = tones(2, 9000)
    found = codec.decode(codec.encode(sound, sample_rate=44_100, quality=100), output="numpy", noise=False)
    assert np.square(found - sound).mean() < 0.5 * np.square(sound).mean()
    told = json.loads(path.with_suffix(".json").read_text())
    assert told["weights_hash"] == codec.weights_hash and len(told["sounds"]) == 4  # type: ignore[attr-defined]
    assert (tmp_path / "validation.csv").exists() and (tmp_path / "validation.png").exists()


def test_a_stopped_training_goes_on_alike(tmp_path: Path) -> None:
    def trainer(begun: bool = False) -> AudioTrainer:
        torch.rand(3)
        return AudioTrainer(TINY, SoundBank([tones(2, 9000)], TINY.samples, torch.device("cpu")), [], False, begun)

    whole, parts = trainer(), trainer()
    assert whole.run(tmp_path / "a", LoopSettings(6))
    assert not parts.run(tmp_path / "b", LoopSettings(6, minutes=0))
    for _ in range(3):
        parts.step()
    parts.state.save(tmp_path / "b", {**_config(parts), "data": ""})
    again = trainer(begun=True)
    assert again.run(tmp_path / "b", LoopSettings(6))
    for a, b in zip(whole.averaged().parameters(), again.averaged().parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="settings"):
        AudioTrainer(replace(TINY, seed=1), trainer().bank, [], False).run(tmp_path / "b", LoopSettings(6))


@pytest.mark.filterwarnings("ignore:.*left out:UserWarning")
def test_what_is_told_and_checked_before_anything_is_read(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("walloc-audio-tiny", TINY, folder, tmp_path, loop=LoopSettings(6, minutes=0)) is None
    told = capfd.readouterr().err
    assert (
        "a KLT of the bands" in told and "6 steps of the network" in told and "contexts, 7 steps on at most 1" in told
    )
    assert train("walloc-audio-tiny", TINY, folder, tmp_path) is not None
    told = capfd.readouterr().err
    assert told.index("first the checkpoint; then 6 steps") < told.index("the fit of the contexts follows")

    monkeypatch.setattr(run, "read_all", None)
    for wrong, names in ((replace(TINY, batch=5), "batch"), (replace(TINY, seed=3, average=0.5), "seed, average")):
        with pytest.raises(ValueError, match=rf"made with other settings \({names}\)"):
            train("walloc-audio-tiny", wrong, folder, tmp_path)


def _config(trainer: AudioTrainer) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(trainer.config)


def test_the_floor_is_the_start() -> None:
    """Before the first step the network adds nothing, and the linear maps are an orthonormal KLT."""
    torch.manual_seed(0)
    model = WallocAudio(TINY.model)
    bank = SoundBank([tones(2, 9000)], TINY.samples, torch.device("cpu"))
    crops = [bank.sample(8, TINY.samples, torch.Generator().manual_seed(1))]
    initialize(model, crops, TINY.quantizer_steps)
    basis = model.get_buffer("basis")
    assert torch.allclose(basis.T @ basis, torch.eye(32), atol=1e-4)
    bands = TINY.model.bank.analyze(crops[0]).flatten(1, 2)
    level = torch.ones(8)
    q = quantize(model.analyze(bands, level))
    with torch.no_grad():
        assert torch.equal(model.synthesize(q, level), model.synthesize_linear(q, level))


def test_recipes_that_cannot_be_followed(folder: Path, tmp_path: Path) -> None:
    for wrong, message in (
        (replace(TINY, steps=0), "steps = 0"),
        (replace(TINY, step_low=float("inf")), "step_low"),
        (replace(TINY, average=2.0), "average"),
        (replace(TINY, model=replace(TINY.model, transform="dct")), "transform"),
        (replace(TINY, model=replace(TINY.model, blocks=100, kernel=9)), "frames to each side"),
        (replace(TINY, model=replace(TINY.model, signal_channels=1)), "signal_channels"),
    ):
        with pytest.raises(ValueError, match=message):
            train("walloc-audio-tiny", wrong, folder, tmp_path / "run")
    with pytest.raises(ValueError, match="no sound of at least"), pytest.warns(UserWarning, match="left out"):
        train("walloc-audio-tiny", replace(TINY, frames=10_000), folder, tmp_path / "run")
    assert {"walloc-audio-f256c27", "walloc-audio-f256c108"} <= set(RECIPES)


def test_sounds_as_they_are_trained_on(folder: Path, tmp_path: Path) -> None:
    assert load_sound(folder / "2.wav", 60).shape == (1, 40_000)  # at 44.1 kHz
    assert load_sound(folder / "0.wav", 0.1).shape == (2, 4410)
    assert len(list(read_all([folder / "0.wav"], 60))) == 1
    with pytest.raises(UnreadableFileError):
        list(read_all([folder / "notes.txt"], 60))
    for rate, message in ((44_099, "no short ratio"), (100, "expected 1000 to")):
        audio.write(tmp_path / "odd.wav", tones(1, 900), AudioSignal(rate, 1))
        with pytest.warns(UserWarning, match=rf"1 of 2 sounds are left out.*odd\.wav: {rate} .*{message}"):
            assert len(list(read_all([tmp_path / "odd.wav", folder / "0.wav"], 60))) == 1
    pair = pair_of(tones(1, 500) + np.float32(3))
    assert pair.shape == (2, 500) and np.abs(pair).max() == pytest.approx(PEAK) and abs(pair.mean()) < 1e-4
    assert not pair_of(np.zeros((3, 9), np.float32)).any()
    bank = SoundBank([tones(2, 900), tones(1, 50)], 100, torch.device("cpu"))
    assert len(bank) == 1 and bank.sound(0).shape == (2, 900)
    crops = bank.sample(50, 100, torch.Generator().manual_seed(0))
    assert crops.shape == (50, 2, 100) and float(crops.abs().max()) <= PEAK + 1e-3
