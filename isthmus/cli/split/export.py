# SPDX-License-Identifier: Apache-2.0
"""`isthmus split export`: what a device without torch needs."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[str, typer.Argument(help="Run of a training that has ended, or a codec: walloc-image-f8c12.")],
    to: Annotated[str, typer.Option(help="onnx, or pt2: a program of torch.export.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="Folder that is written to; else one named export in the run, or here.")
    ] = None,
    codec: Annotated[
        str | None, typer.Option("--codec", "-c", help="Weights file of the run's codec, where it is not in the run.")
    ] = None,
) -> None:
    """Write what a device computes as a graph, with a packer in numpy that makes streams of its symbols.

    The graph gives the symbols that isthmus sends, to the last one; the packer the same bytes. Neither needs torch or
    isthmus: onnxruntime and numpy are enough (docs/split.md has the ten lines).

    Example: isthmus split export runs/split --to onnx --out device/

    Example: isthmus split export walloc-image-f8c12 --to pt2
    """
    from isthmus.codecs.registry import load
    from isthmus.models.heads.saved import NAME, load_head
    from isthmus.split.export import export_head
    from isthmus.split.reading import open_codec

    place = Path(run)
    is_run = (place / NAME).is_file() or place.name == NAME
    found = open_codec(load_head(place)[1].codec, codec, beside=place) if is_run else load(run)
    folder = out or ((place if place.is_dir() else Path()) / "export")
    path = export_head(found, folder, to)
    typer.echo(f"{path}: with {', '.join(sorted(p.name for p in folder.iterdir() if p != path))}")
