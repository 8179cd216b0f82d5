# SPDX-License-Identifier: Apache-2.0
"""`isthmus train classify`."""

import math
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.training import options

BACKBONE_RATE = 4e-4  # of weights that know much already


def classify(
    latents: Annotated[str, typer.Argument(help="Data set of latents with labels, from `isthmus transcode`.")],
    head: Annotated[
        str,
        typer.Option(help="convnext-s, convnext-b, vit-s, vit-b, or adapter:NAME of a backbone: adapter:efficientnet."),
    ] = "convnext-s",
    init: options.Init = None,
    validation: options.Validation = None,
    out: options.Out = Path("runs/classify"),
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
    """Train a classifier on latents. Killed or stopped, the same command goes on to the same curve.

    With several GPUs: torchrun --nproc-per-node 4 -m isthmus train classify ...

    Example: isthmus train classify latents/ --validation latents-validation/ --out runs/photos

    Example: isthmus train classify latents/ --head vit-s --epochs 10 --set mixing=none --set flip=0

    Example: isthmus train classify latents/ --head adapter:efficientnet --init runs/adapter --set rate=1e-4
    """
    from isthmus.datasets import LatentDataset
    from isthmus.training.heads import HeadRecipe, train_classifier

    rate = BACKBONE_RATE if head.startswith("adapter") else HeadRecipe.rate
    recipe = options.chosen_recipe(HeadRecipe(rate=rate), head, epochs, batch, seed, settings, "train classify")
    held = LatentDataset(validation) if validation else None
    data = LatentDataset(latents, cache=cache)
    path = train_classifier(
        data, recipe, out, validation=held, device=options.chosen_device(device), workers=workers,
        minutes=minutes, save_minutes=save_minutes, tensorboard=tensorboard, init=init,
    )  # fmt: skip
    if path is not None:
        typer.echo(f"{path}: isthmus predict {out} FILE, isthmus evaluate {out} LATENTS")
