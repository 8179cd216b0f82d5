# SPDX-License-Identifier: Apache-2.0
"""`isthmus transcode`: whole data sets to latents."""

from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.options import CodecName, Device, Headed, Sketch, chosen, codec_command
from isthmus.cli.stopping import StoppedError

SHOWN = 10  # losses that are printed


def _options(line: Sketch) -> list[Headed]:
    """Those of the codec that is named, or of images."""
    if line.values.get("--engine", "local") == "local" and len(line.places) == 2:
        from isthmus.datasets.engines.server import begin

        begin()  # it imports torch, as this process does from here on

    from isthmus.codecs.registry import class_of, default_codec
    from isthmus.media.kinds import room

    name = line.codec or _there(line.places) or default_codec("image")
    codec = class_of(name)
    return [(f"Options of {name}", [room(codec.kind).ReadOptions, codec.Options])]


def _there(places: list[str]) -> str | None:
    """The codec of the data set that goes on."""
    from isthmus.datasets.manifest import codec_there
    from isthmus.datasets.storage import Place
    from isthmus.errors import IsthmusError

    try:
        return codec_there(Place(places[1])) if len(places) == 2 else None
    except IsthmusError:  # the command says what is wrong
        return None


def transcode(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A folder (folders within it are classes), a CSV or JSONL file with a column of paths, Parquet files "
            "or tars of WebDataset, by path or URL."
        ),
    ],
    destination: Annotated[str, typer.Argument(help="Folder of the data set, by path or URL; what is there goes on.")],
    codec: CodecName = None,
    engine: Annotated[
        str, typer.Option(help="local: processes of this machine; ray: actors of a Ray cluster.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Processes or actors; else one for each core. 0: in this process.", min=0)
    ] = None,
    views: Annotated[
        list[str] | None,
        typer.Option(
            help="Store beside each image, with commas between: hflip, vflip, crops:4 (random squares of --crop)."
        ),
    ] = None,
    resize: Annotated[int | None, typer.Option(help="Pixels of the shorter side.", min=1)] = None,
    crop: Annotated[
        int | None, typer.Option(help="Pixels of the square in the middle; smaller images are enlarged to it.", min=1)
    ] = None,
    format: Annotated[str, typer.Option(help="parquet, or tar for WebDataset.")] = "parquet",
    device: Device = "cpu",
    append: Annotated[bool, typer.Option("--append", help="Add another source to a data set.")] = False,
    rebuild: Annotated[list[int] | None, typer.Option(help="Make this shard again; may be given again.")] = None,
    checksums: Annotated[
        bool, typer.Option("--checksums", help="See changes by SHA-256 of files, not by size and time.")
    ] = False,
    shard_index: Annotated[int, typer.Option(help="Which job of --num-shards this is, from 0.", min=0)] = 0,
    num_shards: Annotated[
        int, typer.Option(help="Jobs that share DESTINATION, each with shards of its own.", min=1)
    ] = 1,
    shard_size: Annotated[int | None, typer.Option(help="Samples of a shard; else up to 1000.", min=1)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and how long it takes by a measured sample.")
    ] = False,
) -> None:
    """Encode a whole data set into latents to train on. A run that was stopped goes on with the same command.

    Example: isthmus transcode photos/ latents/ --codec walloc-image-f8c12

    Example: isthmus transcode photos/ latents/ --resize 256 --crop 224 --views hflip,crops:2 --quality 60

    Example: isthmus transcode photos/ latents/ --dry-run

    Example: isthmus transcode more-photos/ latents/ --append

    Example: isthmus transcode songs/ latents/ --codec walloc-audio-f256c27

    Example: isthmus transcode list.csv latents/ --engine ray --workers 16

    Files that cannot be read are left out and listed in errors.jsonl; the exit status is 3 then.
    """
    from isthmus.datasets.dry_run import estimate
    from isthmus.datasets.job import transcode as run

    if destination.startswith("memory://"):
        raise ValueError(f"transcode: {destination} would be gone when this command ends; choose a folder")
    given: dict[str, Any] = {
        "codec": codec, "views": views or (), "resize": resize, "crop": crop, "format": format, "device": device,
        "checksums": checksums, **chosen(context),
    }  # fmt: skip
    if dry_run:
        typer.echo(estimate(source, destination, append=append, workers=workers, shard_size=shard_size, **given))
        return
    try:
        report = run(
            source, destination, engine=engine, workers=workers, append=append, rebuild=rebuild or (),
            shard_index=shard_index, num_shards=num_shards, shard_size=shard_size, **given,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise StoppedError("what is done stays, the same command goes on") from None
    for line in _told(report, num_shards):
        typer.echo(line, err=True)
    if report.lost or report.failed:
        raise typer.Exit(3)


def _told(report: Any, jobs: int) -> list[str]:
    from isthmus.cli.counts import count

    lines = [f"isthmus: warning: {text}" for text in report.warned]
    if report.warnings > len(report.warned):
        lines.append(f"isthmus: warning: {report.warnings - len(report.warned)} more of that kind")
    for key, why in report.losses[:SHOWN]:
        lines.append(f"isthmus: left out {key}: {why}")
    if report.lost > SHOWN:
        lines.append(f"isthmus: {report.lost - SHOWN} more are left out: {Path(report.destination) / 'errors.jsonl'}")
    if report.changes:
        lines.append(f"isthmus: against what was there before: {report.changes}")
    if report.note:
        lines.append(f"isthmus: {report.note}")
    ratio = f", 1:{report.bytes_in / report.bytes_out:.1f}" if report.bytes_out else ""
    lost = f", {report.lost} left out" if report.lost else ""
    lost += f", {count(len(report.classes), 'class', 'classes')}" if report.classes else ""
    sizes = f"{report.bytes_in / 1e6:.1f} MB to {report.bytes_out / 1e6:.1f} MB{ratio}"
    what = f"{count(report.count, 'sample')} in {count(report.there, 'shard')}"
    lines.append(f"{report.destination}: {what}, {sizes}{lost}")
    if not report.complete:
        told = f"{report.there} of {report.shards} shards are there"
        again = "run the same command again" if jobs == 1 else "the job that ends last writes the manifest"
        if report.elsewhere:
            again = f"run it with the source that {len(report.elsewhere)} of the others are of: {report.elsewhere[0]}"
        lines.append(f"{report.destination}: {told}: {again}")
    return lines


def register(app: typer.Typer) -> None:
    """Hangs the command on `app`."""
    app.command(cls=codec_command(_options))(transcode)
