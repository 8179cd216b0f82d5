# SPDX-License-Identifier: Apache-2.0
"""`isthmus bench ...`: measurements from the command line."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Measure codecs on your own files.")


@app.command()
def image(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for CSV, JSON and plots.")] = Path("bench"),
    codec: Annotated[list[str] | None, typer.Option("--codec", "-c", help="Ours to measure (default: all).")] = None,
    last: Annotated[int | None, typer.Option(help="Only the last N files in sorted order.", min=1)] = None,
    repeats: Annotated[int, typer.Option(help="Timed repeats of each image; the median counts.", min=1)] = 1,
    lpips: Annotated[
        Path | None, typer.Option(help="LPIPS weights; adds that metric (needs the package lpips).")
    ] = None,
) -> None:
    """Rate-distortion of our codecs beside JPEG, WebP, JPEG 2000 and AVIF; BD-rates and speeds per thread.

    Example: isthmus bench image photos/ --out bench/
    """
    import isthmus
    from isthmus.bench import rate_distortion, report
    from isthmus.bench.metrics import image as metrics
    from isthmus.bench.peers import pillow

    report.require_matplotlib()
    metric = metrics.load_lpips(lpips) if lpips else None
    files = rate_distortion.list_images(folder, last)
    peers, notes = pillow.pillow_codecs()
    for note in notes:
        typer.echo(note, err=True)
    ours: list[Any] = [isthmus.load(name) for name in codec or isthmus.list_codecs()]
    rows = rate_distortion.run(files, [*ours, *peers], repeats=repeats, lpips=metric)
    curves = rate_distortion.average(rows)
    paths = report.write_report(rows, curves, out, title=f"{len(files)} images")
    typer.echo(report.markdown_table(curves))
    typer.echo("written: " + ", ".join(str(p) for p in paths))
