# SPDX-License-Identifier: Apache-2.0
"""`isthmus train classify`."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.training.options import chosen_device

BACKBONE_RATE = 4e-4  # of weights that know much already


def classify(
    latents: Annotated[str, typer.Argument(help="Data set of latents with labels, from `isthmus transcode`.")],
    head: Annotated[
        str,
        typer.Option(help="convnext-s, convnext-b, vit-s, vit-b, or adapter:NAME of a backbone: adapter:efficientnet."),
    ] = "convnext-s",
    start: Annotated[
        Path | None, typer.Option(help="Run of the same head to begin with, as that of `isthmus train adapter`.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="Data set of the same codec that is never trained on.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, curve.csv, head.safetensors.")] = Path(
        "runs/classify"
    ),
    epochs: Annotated[float | None, typer.Option(help="Times that all samples are seen.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples a step.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that read; 0: this one.", min=0)] = 2,
    cache: Annotated[Path | None, typer.Option(help="File of plain integers, filled in the first epoch.")] = None,
    minutes: Annotated[float, typer.Option(help="Stop after this time; the same command goes on.")] = math.inf,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Setting of the recipe to change, as mixing=none; repeatable."),
    ] = None,
) -> None:
    """Train a classifier on latents. Killed or stopped, the same command goes on to the same curve.

    With several GPUs: torchrun --nproc-per-node 4 -m isthmus train classify ...

    Example: isthmus train classify latents/ --validation latents-validation/ --out runs/photos

    Example: isthmus train classify latents/ --head vit-s --epochs 10 --set mixing=none --set flip=0

    Example: isthmus train classify latents/ --head adapter:efficientnet --start runs/adapter --set rate=1e-4
    """
    from isthmus.datasets import LatentDataset
    from isthmus.optim.loop import LoopSettings
    from isthmus.options import change
    from isthmus.training.heads import HeadRecipe, train_classifier

    recipe = HeadRecipe(head=head, seed=seed, rate=BACKBONE_RATE if head.startswith("adapter") else HeadRecipe.rate)
    recipe = replace(recipe, epochs=epochs or recipe.epochs, batch=batch or recipe.batch)
    recipe = change(recipe, settings or [], "train classify")
    held = LatentDataset(validation) if validation else None
    data = LatentDataset(latents, cache=cache)
    path = train_classifier(
        data, recipe, out, validation=held, device=chosen_device(device), workers=workers,
        loop=LoopSettings(0, minutes), tensorboard=tensorboard, start=start,
    )  # fmt: skip
    if path is not None:
        typer.echo(f"{path}: isthmus predict {out} FILE, isthmus evaluate {out} LATENTS")
