# SPDX-License-Identifier: Apache-2.0
"""`isthmus train split`."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.training import options
from isthmus.cli.training.classify import BACKBONE_RATE


def split(
    photographs: Annotated[
        str | None, typer.Argument(help="Photographs: whatever `isthmus transcode` takes. Not with --tail.")
    ] = None,
    bottleneck: Annotated[
        str,
        typer.Option(help="What the device computes: bottlefit, a small network, or a codec: its analysis alone."),
    ] = "bottlefit",
    channels: Annotated[int | None, typer.Option(help="Of a bottlefit: 3 to 12 are usual.", min=1)] = None,
    backbone: Annotated[
        str, typer.Option(help="efficientnet, efficientnet-b0, resnet18, resnet50 or vit-b-16.")
    ] = "efficientnet",
    at: Annotated[str, typer.Option(help="Path of the module whose output is replaced; else the usual one.")] = "",
    teacher: Annotated[
        Path | None, typer.Option(help="Run that has tuned the backbone to these classes, instead of tuning it again.")
    ] = None,
    tail: Annotated[
        str | None, typer.Option(help="Data set of what the head of --init sends: train another tail from it.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="With --tail: the run whose head and tail to begin with.")] = None,
    validation: Annotated[str | None, typer.Option(help="Photographs, or latents, that are never trained on.")] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the run: checkpoints, curves, codec.safetensors, head.safetensors.")
    ] = Path("runs/split"),
    steps: Annotated[int | None, typer.Option(help="Steps of the last stage.", min=1)] = None,
    epochs: Annotated[float | None, typer.Option(help="With --tail: times that all samples are seen.")] = None,
    batch: Annotated[int | None, typer.Option(help="Photographs a step.", min=2)] = None,
    seed: options.Seed = 0,
    device: options.ChosenDevice = "auto",
    workers: options.Workers = 2,
    minutes: Annotated[float, typer.Option(help="A stage stops after this time; the same command goes on.")] = math.inf,
    save_minutes: options.SaveMinutes = 3.0,
    settings: options.Settings = None,
) -> None:
    """Train a network in two parts: what a device computes and sends, and what a server makes of it.

    A backbone is tuned to the classes of the photographs; a bottleneck learns what its first half gives, and pays for
    its bits, at all qualities at once; then it stands still, and the tail learns on. What comes out is served by
    `isthmus split serve`, sent to by `isthmus split send`, judged by `isthmus evaluate`.

    Example: isthmus train split photos/ --validation photos-validation/ --channels 12 --out runs/split

    Example: isthmus train split photos/ --bottleneck walloc-image-f8c12 --out runs/linear

    Example: isthmus transcode other/ sent/ --codec runs/split && isthmus train split --tail sent/ --init runs/split
    """
    from isthmus.options import change

    if (tail is None) == (photographs is None):
        raise ValueError("train split: name photographs, or --tail LATENTS with --init RUN; one of both")
    running: dict[str, Any] = {
        "device": options.chosen_device(device), "workers": workers, "minutes": minutes, "save_minutes": save_minutes,
    }  # fmt: skip
    if tail is not None or photographs is None:
        path = _tail(tail, init, validation, out, epochs, batch, seed, settings, running)
    else:
        from isthmus.training.adapters import AdapterRecipe, train_adapter
        from isthmus.training.split import SplitRecipe, train_split

        if init is not None or epochs is not None:
            raise ValueError("train split: --init and --epochs are for --tail")
        recipe: AdapterRecipe = SplitRecipe(at=at) if bottleneck == "bottlefit" else AdapterRecipe(codec=bottleneck)
        recipe = replace(recipe, backbone=backbone, seed=seed, steps=steps or recipe.steps, batch=batch or recipe.batch)
        if isinstance(recipe, SplitRecipe):
            recipe = change(replace(recipe, channels=channels or recipe.channels), settings or [], "train split")
            path = train_split(photographs, recipe, out, validation=validation, teacher=teacher, **running)
        elif channels is not None or at:
            raise ValueError(
                f"train split: {bottleneck} has channels and a place of its own; leave --channels and --at"
            )
        else:
            recipe = change(recipe, settings or [], "train split")
            path = train_adapter(photographs, recipe, out, validation=validation, teacher=teacher, **running)
    if path is not None:
        typer.echo(f"{path}: isthmus split serve {out}, isthmus evaluate {out} LATENTS, isthmus predict {out} FILE")


def _tail(
    tail: str | None, init: Path | None, validation: str | None, out: Path, epochs: float | None, batch: int | None,
    seed: int, settings: list[str] | None, running: dict[str, Any],
) -> Path | None:  # fmt: skip
    from isthmus.datasets import LatentDataset
    from isthmus.training.heads import HeadRecipe
    from isthmus.training.split import train_tail_on

    if init is None or tail is None:
        raise ValueError("train split: --tail needs --init RUN, whose head sent what is in it")
    recipe = options.chosen_recipe(
        HeadRecipe(rate=BACKBONE_RATE), HeadRecipe.head, epochs, batch, seed, settings, "train split"
    )
    held = LatentDataset(validation) if validation else None
    return train_tail_on(LatentDataset(tail), recipe, out, init=init, validation=held, **running)
