# SPDX-License-Identifier: Apache-2.0
"""`isthmus train adapter`."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.training import options


def adapter(
    photographs: Annotated[str, typer.Argument(help="Photographs: whatever `isthmus transcode` takes.")],
    backbone: Annotated[
        str, typer.Option(help="efficientnet, efficientnet-b0, resnet18, resnet50 or vit-b-16.")
    ] = "efficientnet",
    codec: Annotated[str | None, typer.Option("--codec", "-c", help="Codec whose latents it shall read.")] = None,
    validation: Annotated[str | None, typer.Option(help="Photographs that are never trained on.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, curve.csv, head.safetensors.")] = Path(
        "runs/adapter"
    ),
    steps: Annotated[int | None, typer.Option(help="Steps of the last stage.", min=1)] = None,
    batch: Annotated[int | None, typer.Option(help="Photographs a step.", min=2)] = None,
    seed: Annotated[int, typer.Option(help="Of order, views and qualities.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that read; 0: this one.", min=0)] = 2,
    minutes: Annotated[float, typer.Option(help="A stage stops after this time; the same command goes on.")] = math.inf,
    save_minutes: options.SaveMinutes = 3.0,
    settings: options.Settings = None,
) -> None:
    """Teach a network that was trained on pixels to read latents of all qualities.

    Its first half is replaced by an adapter, which learns from photographs what that half makes of their pixels; then
    all of it learns what the whole network says of them, and their labels, where they have some (class folders). What
    comes out is a head: `isthmus evaluate`, `isthmus predict`.

    Example: isthmus train adapter photos/ --validation photos-validation/ --out runs/adapter

    Example: isthmus train adapter photos/ --backbone resnet50 --steps 2000 --set low=20
    """
    from isthmus.options import change
    from isthmus.training.adapters import AdapterRecipe, train_adapter

    recipe = AdapterRecipe(backbone=backbone, seed=seed)
    recipe = replace(recipe, codec=codec or recipe.codec, steps=steps or recipe.steps, batch=batch or recipe.batch)
    recipe = change(recipe, settings or [], "train adapter")
    path = train_adapter(
        photographs, recipe, out, validation=validation, device=options.chosen_device(device), workers=workers,
        minutes=minutes, save_minutes=save_minutes,
    )  # fmt: skip
    if path is not None:
        typer.echo(f"{path}: isthmus evaluate {out} LATENTS, isthmus predict {out} FILE")
