# SPDX-License-Identifier: Apache-2.0
"""`isthmus datasets`: data sets of latents as they lie on the disk."""

from typing import Annotated

import typer

SHOWN = 20  # problems that are printed

app = typer.Typer(no_args_is_help=True, help="Data sets of latents that `isthmus transcode` wrote.")


@app.callback()
def datasets() -> None:
    """Data sets of latents that `isthmus transcode` wrote."""


@app.command()
def verify(
    path: Annotated[str, typer.Argument(help="Folder of the data set, by path or URL.")],
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every stream too, and compare the sums of its integers.")
    ] = False,
) -> None:
    """Read all of a data set: checksums of files and of streams, counts, keys. Exit status 2 if anything is wrong.

    Example: isthmus datasets verify latents/
    """
    from isthmus.cli.counts import count
    from isthmus.cli.progress import progress
    from isthmus.datasets.checks import verify as check
    from isthmus.datasets.manifest import Manifest
    from isthmus.datasets.storage import Place

    total = sum(shard.bytes for shard in Manifest.read(Place(path)).shards)
    with progress(total or None, err=True) as bar:
        found = check(path, decode=decode, progress=bar.update)
    for line in found.problems[:SHOWN]:
        typer.echo(f"isthmus: {line}", err=True)
    if len(found.problems) > SHOWN:
        typer.echo(f"isthmus: and {len(found.problems) - SHOWN} more", err=True)
    sizes = f"{count(found.samples, 'sample')} in {count(found.shards, 'shard')}, {found.bytes / 1e6:.1f} MB of streams"
    wrong = count(len(found.problems), "problem")
    typer.echo(f"{path}: {sizes}: {'all as it should be' if found.whole else wrong}")
    if not found.whole:
        raise typer.Exit(2)
