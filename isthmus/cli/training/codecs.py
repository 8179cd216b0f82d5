# SPDX-License-Identifier: Apache-2.0
"""`isthmus train codec` and `isthmus train context`."""

import math
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.training.options import chosen_device


def codec(
    folder: Annotated[Path, typer.Argument(help="Folder of training media, searched recursively.")],
    name: Annotated[
        str | None, typer.Option(help="Recipe to follow: the name of a codec that ships (default: that of images).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, curves, weights.")] = Path("runs/codec"),
    validation: Annotated[Path | None, typer.Option(help="Folder of media that are never trained on.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Steps of the network (default: the recipe's); contexts have their own, --set context_steps=N.", min=1
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step (default: the recipe's).", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of crops, levels and initial weights.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    minutes: Annotated[
        float, typer.Option(help="The network stops after this time; the same command goes on.")
    ] = math.inf,
    save_minutes: Annotated[float, typer.Option(help="Minutes between checkpoints.")] = 3.0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Setting of the recipe to change, as width=128; may be repeated; one that is wrong names them all.",
        ),
    ] = None,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.", min=1)] = 4000,
) -> None:
    """Train a codec: a KLT to begin with, the network, then the contexts that make its streams small.

    Killed or stopped, the same command takes up the last checkpoint.

    Example: isthmus train codec photos/ --name walloc-image-f8c12 --validation kept-out/ --out runs/f8c12

    Example: isthmus train codec songs/ --name walloc-audio-f256c27 --out runs/trial --steps 500 --set context_steps=100
    """
    from isthmus.codecs.registry import default_codec, family_of
    from isthmus.optim.loop import LoopSettings
    from isthmus.options import change

    name = name or default_codec("image")
    package = _training_of(family_of(name))
    if package is None or name not in package.RECIPES:
        raise ValueError(f"train codec: no recipe {name!r}; known: {', '.join(_recipes())}")
    recipe = package.RECIPES[name]
    recipe = replace(recipe, seed=seed, steps=steps or recipe.steps, batch=batch or recipe.batch)
    recipe = change(recipe, settings or [], "train codec")
    loop = LoopSettings(recipe.steps, minutes, save_minutes, validate_every)
    path = package.train(name, recipe, folder, out, validation=validation, device=chosen_device(device), loop=loop)
    if path is not None:
        typer.echo(f"{path}: load it with isthmus.load({str(path)!r})")


def context(
    images: Annotated[Path, typer.Argument(help="Folder of training images, searched recursively.")],
    weights: Annotated[str, typer.Option(help="Codec to fit it to: a name, or a weights file.")],
    out: Annotated[Path, typer.Option(help="Weights file to write, context model included.")],
    steps: Annotated[int, typer.Option(help="Optimizer steps.", min=1)] = 3600,
    pairs: Annotated[int, typer.Option(help="Earlier channels a channel looks at; more are slower.", min=0)] = 5,
    seed: Annotated[int, typer.Option(help="Seed of crops.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Fit the context model of a trained codec anew, for example to images like yours. Its pixels stay as they are.

    Example: isthmus train context photos/ --weights walloc-image-f8c48 --out f8c48-photos.safetensors
    """
    import torch

    import isthmus
    from isthmus.codecs.bottlefit import weights as bottlefit
    from isthmus.codecs.bottlefit.codec import BottlefitCodec
    from isthmus.codecs.walloc.image import WallocImageCodec
    from isthmus.codecs.walloc.weights import save_weights
    from isthmus.devices import check_device
    from isthmus.files import check_target
    from isthmus.media.kinds import list_files, tell_left_out
    from isthmus.training.data.crops import ImageBank
    from isthmus.training.split.tables import analyzer
    from isthmus.training.walloc.context import fit_context

    if out.suffix != ".safetensors":
        raise ValueError(f"train context: --out {out} must end in .safetensors, by which isthmus.load knows such files")
    check_target(out)
    if Path(weights).exists() and out.exists() and out.samefile(weights):
        raise ValueError(f"train context: --out {out} is the codec itself, which would be lost: choose another name")
    chosen = torch.device(check_device(chosen_device(device)))
    trained: Any = isthmus.load(weights)
    if not isinstance(trained, WallocImageCodec | BottlefitCodec):
        raise ValueError(f"train context: {weights} is no codec of images with contexts (walloc-image-..., bottlefit)")
    files = list_files(images, "image", recursive=True)
    tell_left_out(images, "image", recursive=True)
    bank = ImageBank.load(files, 1, torch.device("cpu"))
    if isinstance(trained, WallocImageCodec):
        analyze = trained.weights.linear.analyzer(torch.get_num_threads())
        model = fit_context(analyze, bank, device=chosen, steps=steps, pairs=pairs, seed=seed)
        save_weights(out, trained.model, trained.weights.entropy, model)
    else:
        analyze = analyzer(trained.weights.head)
        model = fit_context(analyze, bank, device=chosen, steps=steps, pairs=pairs, seed=seed)
        bottlefit.save_weights(out, replace(trained.weights, context=model))
    typer.echo(f"{out}: load it with isthmus.load({str(out)!r})")


def _training_of(family: str) -> Any:
    """The room that trains a family, or None."""
    from isthmus.codecs.registry import FAMILIES

    name = f"isthmus.training.{family}"
    try:
        return import_module(name) if family in FAMILIES else None
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def _recipes() -> list[str]:
    from isthmus.codecs.registry import FAMILIES

    return [name for family in FAMILIES for name in getattr(_training_of(family), "RECIPES", ())]
