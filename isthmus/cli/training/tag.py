# SPDX-License-Identifier: Apache-2.0
"""`isthmus train tag`."""

import math
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.training import options


def tag(
    latents: Annotated[str, typer.Argument(help="Data set of latents of sound, from `isthmus transcode`.")],
    tags: Annotated[
        str | None,
        typer.Option(
            help="Column with several tags between , or ; as a table passed it through. Without it: the data set's "
            "labels, one a sound."
        ),
    ] = None,
    head: Annotated[str, typer.Option(help="sound-s, or one of those that classify: convnext-s, vit-s.")] = "sound-s",
    init: options.Init = None,
    validation: options.Validation = None,
    out: options.Out = Path("runs/tag"),
    epochs: options.Epochs = None,
    batch: options.Batch = None,
    seed: options.Seed = 0,
    device: options.ChosenDevice = "auto",
    workers: options.Workers = 2,
    cache: options.Cache = None,
    minutes: options.Minutes = math.inf,
    save_minutes: options.SaveMinutes = 3.0,
    tensorboard: options.Tensorboard = False,
    settings: options.Settings = None,
) -> None:
    """Train a tagger of sound on latents. Killed or stopped, the same command goes on to the same curve.

    It hears random stretches of sounds (--set crop=690 frames, four seconds at 44.1 kHz; crop=0: all of each). Whole
    sounds are judged, by accuracy, or with --tags by the mean average precision over tags. `isthmus transcode` of a
    table of paths passes its other columns through: such a one holds tags, as "Dog,Bark".

    Example: isthmus train tag latents/ --validation latents-validation/ --out runs/sounds

    Example: isthmus train tag latents/ --tags labels --epochs 50 --set rate=1e-3
    """
    from isthmus.datasets import LatentDataset
    from isthmus.training.heads.tagging import SOUND, TAGS, train_tagger

    recipe = options.chosen_recipe(TAGS if tags else SOUND, head, epochs, batch, seed, settings, "train tag")
    held = LatentDataset(validation) if validation else None
    data = LatentDataset(latents, cache=cache)
    path = train_tagger(
        data, recipe, out, tags=tags, validation=held, device=options.chosen_device(device), workers=workers,
        minutes=minutes, save_minutes=save_minutes, tensorboard=tensorboard, init=init,
    )  # fmt: skip
    if path is not None:
        typer.echo(f"{path}: isthmus predict {out} FILE, isthmus evaluate {out} LATENTS")
