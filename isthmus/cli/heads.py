# SPDX-License-Identifier: Apache-2.0
"""`isthmus evaluate` and `isthmus predict`: what `isthmus train classify`, `adapter`, `tag` and `dense` have made."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.options import Device
from isthmus.errors import IsthmusError

Run = Annotated[Path, typer.Argument(help="Folder of a training that has ended, or its head.safetensors.")]
FIRST = 5  # classes that are printed


def evaluate(
    run: Run,
    latents: Annotated[
        str, typer.Argument(help="Data set of latents with labels or tags, of the codec of the training.")
    ],
    targets: Annotated[Path | None, typer.Option(help="Folder of targets, for heads of every pixel.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that read; 0: this one.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: Device = "cpu",
) -> None:
    """Say how right a trained head is on a data set of latents, with a bootstrap interval.

    Heads are what `isthmus train classify`, `adapter`, `tag` and `dense` have made. Of several tags it is the mean
    average precision: 100 % where all sounds that have a tag come before all others.
    Of heads that say something of every pixel: beside the floor, what is said without learning.

    Example: isthmus evaluate runs/photos latents-test/

    Example: isthmus evaluate runs/masks latents-test/ --targets masks-test/
    """
    from isthmus.datasets import LatentDataset
    from isthmus.devices import check_device
    from isthmus.training.heads import evaluate as judge
    from isthmus.training.heads import load_head
    from isthmus.training.heads.evaluation import labels_as
    from isthmus.training.heads.saved import check_origin, tell_settings
    from isthmus.training.heads.tagging import judge_tags
    from isthmus.training.heads.tagging.columns import read_tags, targets_of
    from isthmus.training.heads.tagging.judged import AT_ONCE

    head, facts = load_head(run)
    data = LatentDataset(latents)
    check_origin(facts.codec, str(run), data)
    differs = tell_settings(facts.settings, str(run), data)  # said once there is a result: else the error is all
    if (facts.task == "dense") != (targets is not None):
        need = "needs --targets FOLDER" if targets is None else "takes no --targets: its labels are in the data set"
        raise ValueError(f"{run}: a head of {facts.task} {need}")
    head.to(check_device(device))
    if targets is not None:
        _tell_dense(head, facts, data, targets, workers, as_json)
        _note(differs)
        return
    if "tags" in facts.asked:
        truth = targets_of(read_tags(data, facts.asked["tags"]), facts.classes or [], data.path)
        tagged = judge_tags(head, data, truth, workers=workers)
        _tell_tags(latents, len(tagged.truth), tagged.describe(), as_json)
        _note(differs)
        return
    batch = AT_ONCE if data.kind == "audio" else 256
    found = judge(head, data, labels_as(data, facts.classes, facts.outputs), batch=batch, workers=workers)
    told = found.describe()
    _note(differs)
    if as_json:
        typer.echo(_json({"samples": len(found.right), **told}))
        return
    first = f", {100 * told['top5']:.2f} % among the first {FIRST}" if facts.outputs > FIRST else ""
    typer.echo(
        f"{latents}: {100 * told['accuracy']:.2f} % of {len(found.right)} samples right (95 % interval "
        f"{100 * told['low']:.2f} to {100 * told['high']:.2f}){first}"
    )


def _note(line: str | None) -> None:
    if line is not None:
        typer.echo(f"isthmus: {line}", err=True)


def _json(told: dict[str, Any]) -> str:
    from isthmus.models.heads.facts import jsonable

    return json.dumps(jsonable(told), indent=2, allow_nan=False)


def _tell_tags(latents: str, samples: int, told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(_json({"samples": samples, **told}))
        return
    missing = told["classes_without_samples"]
    typer.echo(
        f"{latents}: mean average precision {100 * told['map']:.2f} % over {samples} samples (95 % interval "
        f"{100 * told['low']:.2f} to {100 * told['high']:.2f})"
        + (f", without {missing} tags that none of them has" if missing else "")
    )


def _tell_dense(head: Any, facts: Any, data: Any, targets: Path, workers: int, as_json: bool) -> None:
    from isthmus.training.heads.dense import Pictures, judge, kind_of

    kind = kind_of(facts)
    pictures = Pictures(data, targets, kind.are)
    pictures.check_kind(facts.asked.get("mode"), facts.outputs)
    found = judge(head, kind.paired(data, pictures, facts.input.cell), kind.meter(), workers=workers)
    typer.echo(_json(found.describe()) if as_json else f"{data.path}: {found.tell()}")


def predict(
    run: Run,
    files: Annotated[list[Path], typer.Argument(help="Images, sounds, or streams of the head's codec.")],
    codec: Annotated[
        str | None, typer.Option("--codec", "-c", help="Weights file of the head's codec, where that does not ship.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the PNG that heads of every pixel make of each file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a file.")] = False,
    device: Device = "cpu",
) -> None:
    """Say what a trained head sees in files; samples are encoded as its data set was.

    Files that cannot be read are named and passed over, the exit status is 3 then.

    Heads are what `isthmus train classify`, `adapter`, `tag` and `dense` have made.

    Example: isthmus predict runs/photos photo.jpg stream.ist

    Example: isthmus predict runs/masks photo.jpg --out masks/
    """
    from isthmus.devices import check_device
    from isthmus.models.heads.facts import jsonable
    from isthmus.training.heads import load_head
    from isthmus.training.heads.prediction import Predictor

    predictor = Predictor(*load_head(run), codec=codec, device=check_device(device), beside=run)
    if (predictor.facts.task == "dense") != (out is not None):
        need = "needs --out FOLDER for its pictures" if out is None else "makes no pictures: leave --out"
        raise ValueError(f"{run}: a head of {predictor.facts.task} {need}")
    if out is not None:
        _write_pictures(predictor, files, out, as_json)
        return
    failed = 0
    for file in files:
        try:
            told: dict[str, Any] = predictor.file(file)
        except (IsthmusError, ValueError, OSError) as error:
            if len(files) == 1:
                raise
            text = str(error)
            typer.echo(f"isthmus: {text if str(file) in text else f'{file}: {text}'}", err=True)
            failed += 1
            continue
        ranked = sorted(told.items(), key=lambda pair: -pair[1])[:FIRST]
        if as_json:
            typer.echo(json.dumps(jsonable({"file": str(file), **dict(ranked)}), ensure_ascii=False))
        else:
            typer.echo(f"{file}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in ranked))
    if failed:
        typer.echo(f"isthmus: {failed} of {len(files)} files could not be read", err=True)
        raise typer.Exit(3)


def _write_pictures(predictor: Any, files: list[Path], out: Path, as_json: bool) -> None:
    from isthmus.training.heads.dense.prediction import predicted_names, write_prediction

    for file, name in zip(files, predicted_names(files, out), strict=True):
        height, width = write_prediction(predictor, file, name)
        told = {"file": str(file), "picture": str(name), "height": height, "width": width}
        typer.echo(json.dumps(told, ensure_ascii=False) if as_json else f"{name}: {width}x{height}, of {file}")


def register(app: typer.Typer) -> None:
    """Hangs the commands on `app`."""
    app.command()(evaluate)
    app.command()(predict)
