# SPDX-License-Identifier: Apache-2.0
"""`isthmus train dense`."""

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from isthmus.cli.training import options

Are = Annotated[
    Literal["classes", "values"] | None,
    typer.Option(
        help="What targets hold: classes of masks, or values from 0 to 255. Else as the first file is: palettes, grey "
        "and black and white hold classes, colours values."
    ),
]


def dense(
    latents: Annotated[str, typer.Argument(help="Data set of latents of images, from `isthmus transcode`.")],
    targets: Annotated[
        Path, typer.Option(help="Folder of target pictures: same relative paths as the images, any suffix, same size.")
    ],
    targets_are: Are = None,
    head: Annotated[str, typer.Option(help="dense-s or dense-b.")] = "dense-s",
    init: options.Init = None,
    validation: options.Validation = None,
    validation_targets: Annotated[Path | None, typer.Option(help="Folder of the targets of --validation.")] = None,
    out: options.Out = Path("runs/dense"),
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
    """Train a head that says something of every pixel: segmentation, colourisation, depth-like pictures.

    Masks are classes (255 is left out), judged by intersection over union; other targets are values from 0 to 255,
    judged by PSNR. Beside both stands the floor: the most frequent class, or the best linear map of a cell and its
    neighbours. Targets are resized, cropped and flipped as their images are.

    Killed or stopped, the same command goes on to the same curve. With several GPUs: torchrun --nproc-per-node 4 -m
    isthmus train dense ...

    Example: isthmus train dense latents/ --targets masks/ --validation latents-val/ --validation-targets masks-val/

    Example: isthmus train dense latents-of-grey/ --targets colour/ --epochs 20 --set crop=16

    Example: isthmus train dense latents/ --targets depth/ --targets-are values
    """
    from isthmus.datasets import LatentDataset
    from isthmus.training.heads.dense import DENSE, train_dense

    recipe = options.chosen_recipe(DENSE, head, epochs, batch, seed, settings, "train dense")
    held = LatentDataset(validation) if validation else None
    data = LatentDataset(latents, cache=cache)
    path = train_dense(
        data, targets, recipe, out, are=targets_are, validation=held, validation_targets=validation_targets,
        device=options.chosen_device(device), workers=workers, minutes=minutes, save_minutes=save_minutes,
        tensorboard=tensorboard, init=init,
    )  # fmt: skip
    if path is not None:
        typer.echo(f"{path}: isthmus predict {out} FILE --out FOLDER, isthmus evaluate {out} LATENTS --targets FOLDER")
