# SPDX-License-Identifier: Apache-2.0
"""Training of WaLLoC codecs: trainer, starting point, entropy models, validation, export."""

from dataclasses import asdict
from pathlib import Path

import torch

from isthmus.devices import check_device
from isthmus.files import check_folder
from isthmus.media.kinds import list_files, tell_left_out
from isthmus.optim.checkpoint import checkpoint_of
from isthmus.optim.loop import LoopSettings
from isthmus.training.data.crops import ImageBank, read_all
from isthmus.training.data.reading import listing
from isthmus.training.walloc.audio.run import train_sound
from isthmus.training.walloc.audio.trainer import AudioTrainingConfig
from isthmus.training.walloc.export import export
from isthmus.training.walloc.recipes import RECIPES
from isthmus.training.walloc.trainer import CodecTrainer, TrainingConfig

__all__ = ["RECIPES", "train"]


def train(
    name: str,
    recipe: TrainingConfig | AudioTrainingConfig,
    folder: Path,
    out: Path,
    *,
    validation: Path | None = None,
    device: str = "cpu",
    loop: LoopSettings | None = None,
) -> Path | None:
    """Trains a codec on the images or the sound in `folder`; its trained file in `out`, or None if time ran out.

    validation: a folder of files that are never trained on. Stopped or killed, the same call takes up the last
    checkpoint. Raises UnreadableFileError where there are no images, ValueError for a recipe that cannot be followed
    and for a checkpoint of other settings, UnwritableFileError where `out` cannot be made; all before it begins.
    """
    if isinstance(recipe, AudioTrainingConfig):
        return train_sound(name, recipe, folder, out, validation=validation, device=device, loop=loop)
    recipe.check()
    check_folder(out, parents=True)
    target = torch.device(check_device(device))
    torch.set_float32_matmul_precision("high")
    files = list_files(folder, "image", recursive=True)
    tell_left_out(folder, "image", recursive=True)
    checks = list_files(validation, "image", recursive=True) if validation else []
    data = listing(files, folder)
    checkpoint_of(out, {**asdict(recipe), "data": data})  # refuses one of other settings, before all is read
    bank = ImageBank.load(files, recipe.crop, target)
    trainer = CodecTrainer(
        recipe, bank, [image.to(target) for image in read_all(checks)], compiled=target.type == "cuda"
    )
    if not trainer.run(out, loop, data=data):
        return None
    state = trainer.state
    progress = {"steps_done": state.step, "seconds": round(state.seconds), "devices": state.devices}
    return export(out, name, trainer.averaged(), recipe, files, bank, progress, device)
