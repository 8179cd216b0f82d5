# SPDX-License-Identifier: Apache-2.0
"""Options that trainings of heads share, and what they mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isthmus.training.heads import HeadRecipe

Init = Annotated[Path | None, typer.Option(help="Run of the same head whose weights to begin with.")]
Validation = Annotated[str | None, typer.Option(help="Data set of the same codec that is never trained on.")]
Out = Annotated[Path, typer.Option(help="Folder of the run: checkpoints, curve.csv, head.safetensors.")]
Epochs = Annotated[float | None, typer.Option(help="Times that all samples are seen.")]
Batch = Annotated[int | None, typer.Option(help="Samples a step.", min=1)]
Seed = Annotated[int, typer.Option(help="Of weights, order and augmentation.")]
ChosenDevice = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
Workers = Annotated[int, typer.Option(help="Processes that read; 0: this one.", min=0)]
Cache = Annotated[Path | None, typer.Option(help="File of plain integers, filled in the first epoch.")]
Minutes = Annotated[
    float, typer.Option(help="Stop after this time, without a head; the same command goes on until there is one.")
]
SaveMinutes = Annotated[float, typer.Option(help="Minutes between checkpoints, which a kill goes back to.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Setting of the recipe to change, as mixing=none; repeatable; one that is wrong names them all."
    ),
]


def chosen_device(device: str) -> str:
    """ "auto" is a GPU where there is one."""
    import torch

    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def chosen_recipe(
    recipe: HeadRecipe, head: str, epochs: float | None, batch: int | None, seed: int, settings: list[str] | None,
    command: str,
) -> HeadRecipe:  # fmt: skip
    """A recipe as the options say; `settings` win. Raises ValueError for those that it does not have."""
    from isthmus.options import change

    chosen = replace(recipe, head=head, seed=seed)
    if epochs is not None:
        chosen = replace(chosen, epochs=epochs)
    if batch is not None:
        chosen = replace(chosen, batch=batch)
    return change(chosen, settings or [], command)
