# SPDX-License-Identifier: Apache-2.0
"""A training of a codec of sound from a folder to its trained file."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus.arrays.types import Float32
from isthmus.codecs.registry import load
from isthmus.codecs.walloc.audio.codec import WallocAudioCodec
from isthmus.codecs.walloc.audio.weights import save_audio_weights
from isthmus.devices import check_device
from isthmus.files import check_folder
from isthmus.media.kinds import list_files, tell_left_out
from isthmus.models.walloc.audio_linear import AudioLinear
from isthmus.optim.checkpoint import checkpoint_of
from isthmus.optim.loop import LoopSettings
from isthmus.training.data.reading import listing
from isthmus.training.data.sound import SoundBank, pair_of, read_all
from isthmus.training.walloc.audio.context import fit_causal
from isthmus.training.walloc.audio.trainer import AudioTrainer, AudioTrainingConfig
from isthmus.training.walloc.export import write_recipe

RATE = 44100
PIECE = 10 * RATE  # samples of a sound that contexts are fitted to at once


def train_sound(
    name: str,
    recipe: AudioTrainingConfig,
    folder: Path,
    out: Path,
    *,
    validation: Path | None,
    device: str,
    loop: LoopSettings | None,
) -> Path | None:
    """As `isthmus.training.walloc.train`, on the sound in `folder`."""
    recipe.check()
    check_folder(out, parents=True)
    target = torch.device(check_device(device))
    files = list_files(folder, "audio", recursive=True)
    tell_left_out(folder, "audio", recursive=True)
    checks = list_files(validation, "audio", recursive=True) if validation else []
    data = listing(files, folder)
    begun = checkpoint_of(out, {**asdict(recipe), "data": data}) is not None  # refuses one of other settings
    bank = SoundBank(read_all(files, recipe.longest), recipe.samples, target)
    held = [torch.from_numpy(pair_of(x).copy()).to(target) for x in read_all(checks, 60)] if checks else []
    first = "the checkpoint" if begun else "a KLT of the bands, a minute or two"
    _tell(
        f"first {first}; then {recipe.steps} steps of the network; then the contexts, {recipe.context_steps} steps on "
        f"at most {recipe.context_minutes} minutes of sound (a trial: --set context_steps=100 --set context_minutes=2)"
    )
    trainer = AudioTrainer(recipe, bank, held, compiled=target.type == "cuda", begun=begun)
    if not trainer.run(out, loop, data=data):
        return None
    _tell("the network is trained; the fit of the contexts follows")
    state = trainer.state
    progress = {"steps_done": state.step, "seconds": round(state.seconds), "devices": state.devices}
    return export_sound(out, name, trainer, files, pieces_of(bank, recipe), progress, target)


def _tell(line: str) -> None:
    """What a training is about, beside its progress."""
    print(line, file=sys.stderr, flush=True)


def pieces_of(bank: SoundBank, recipe: AudioTrainingConfig) -> list[Float32]:
    """Pieces of all sounds, spread evenly over them: float32 [2, T], `context_minutes` in all at most."""
    places = [(i, start) for i in range(len(bank)) for start in range(0, int(bank.lengths[i]), PIECE)]
    most = max(1, recipe.context_minutes * 60 * RATE // PIECE)
    chosen = np.random.default_rng(recipe.seed).permutation(len(places))[:most]
    return [bank.sound(places[k][0])[:, places[k][1] : places[k][1] + PIECE].cpu().numpy() for k in sorted(chosen)]


def export_sound(
    out: Path,
    name: str,
    trainer: AudioTrainer,
    files: list[Path],
    sounds: list[Float32],
    progress: dict[str, Any],
    device: torch.device,
) -> Path:
    """Fits the contexts; writes NAME.safetensors and NAME.json."""
    model, recipe = trainer.averaged().cpu(), trainer.config
    linear = AudioLinear.from_state(recipe.model, model.state_dict())
    context, noise = fit_causal(linear, sounds, device=device, steps=recipe.context_steps, seed=recipe.seed)
    path = out / f"{name}.safetensors"
    save_audio_weights(path, model, context, noise)
    codec = load(str(path))  # reads back what was written: a file that does not load never ships
    assert isinstance(codec, WallocAudioCodec)
    write_recipe(path, codec, model, recipe, files, "sounds", progress)
    return path
