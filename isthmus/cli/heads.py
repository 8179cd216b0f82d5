# SPDX-License-Identifier: Apache-2.0
"""`isthmus evaluate` and `isthmus predict`: what `isthmus train classify` has made."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.options import Device

Run = Annotated[Path, typer.Argument(help="Folder of a training that has ended, or its head.safetensors.")]
FIRST = 5  # classes that are printed


def evaluate(
    run: Run,
    latents: Annotated[str, typer.Argument(help="Data set of latents with labels, of the codec of the training.")],
    workers: Annotated[int, typer.Option(help="Processes that read; 0: this one.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: Device = "cpu",
) -> None:
    """Say how right a trained head is on a data set of latents, with a bootstrap interval.

    Example: isthmus evaluate runs/photos latents-test/
    """
    from isthmus.datasets import LatentDataset
    from isthmus.devices import check_device
    from isthmus.training.heads import evaluate as judge
    from isthmus.training.heads import load_head
    from isthmus.training.heads.evaluation import labels_as
    from isthmus.training.heads.origin import check_origin

    head, facts = load_head(run)
    data = LatentDataset(latents)
    check_origin(facts.codec, str(run), data)
    found = judge(head.to(check_device(device)), data, labels_as(data, facts.classes), workers=workers)
    told = found.describe()
    if as_json:
        typer.echo(json.dumps({"samples": len(found.right), **told}, indent=2))
        return
    first = f", {100 * told['top5']:.2f} % among the first {FIRST}" if facts.outputs > FIRST else ""
    typer.echo(
        f"{latents}: {100 * told['accuracy']:.2f} % of {len(found.right)} samples right (95 % interval "
        f"{100 * told['low']:.2f} to {100 * told['high']:.2f}){first}"
    )


def predict(
    run: Run,
    files: Annotated[list[Path], typer.Argument(help="Images, sounds, or streams of the head's codec.")],
    codec: Annotated[
        str | None, typer.Option("--codec", "-c", help="Weights file of the head's codec, where that does not ship.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a file.")] = False,
    device: Device = "cpu",
) -> None:
    """Say what a trained head sees in files; samples are encoded as its data set was.

    Example: isthmus predict runs/photos photo.jpg stream.ist
    """
    from isthmus.devices import check_device
    from isthmus.training.heads import load_head
    from isthmus.training.heads.prediction import Predictor

    predictor = Predictor(*load_head(run), codec=codec, device=check_device(device))
    for file in files:
        told: dict[str, Any] = predictor.file(file)
        ranked = sorted(told.items(), key=lambda pair: -pair[1])[:FIRST]
        if as_json:
            typer.echo(json.dumps({"file": str(file), **dict(ranked)}, ensure_ascii=False))
        else:
            typer.echo(f"{file}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in ranked))


def register(app: typer.Typer) -> None:
    """Hangs the commands on `app`."""
    app.command()(evaluate)
    app.command()(predict)
