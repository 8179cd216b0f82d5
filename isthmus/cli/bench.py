# SPDX-License-Identifier: Apache-2.0
"""`isthmus bench ...`: measurements from the command line, a command for each kind of files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.split.measure import split

app = typer.Typer(no_args_is_help=True, help="Measure codecs on your own files.")

app.command()(split)

Folder = Annotated[Path, typer.Argument(help="Folder of files of this kind, or one file.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for CSV, JSON and plots.")]
Codecs = Annotated[list[str] | None, typer.Option("--codec", "-c", help="Ours to measure (default: all of the kind).")]
Last = Annotated[int | None, typer.Option(help="Only the last N files in sorted order.", min=1)]
Repeats = Annotated[int, typer.Option(help="Timed repeats of each file; the median counts.", min=1)]


@app.command()
def image(
    folder: Folder,
    out: Out = Path("bench"),
    codec: Codecs = None,
    last: Last = None,
    repeats: Repeats = 1,
    lpips: Annotated[
        Path | None, typer.Option(help="LPIPS weights; adds that measure (needs the package lpips).")
    ] = None,
) -> None:
    """Rate-distortion of our codecs beside JPEG, WebP, JPEG 2000 and AVIF; BD-rates and speeds per thread.

    Example: isthmus bench image photos/ --out bench/
    """

    def with_lpips(medium: Any) -> Any:
        from isthmus.bench.medium import Measure
        from isthmus.bench.metrics.image import load_lpips

        if lpips is None:
            return medium
        measure = Measure(load_lpips(lpips), "LPIPS (lower is better)")
        return replace(medium, measures={**medium.measures, "lpips": measure})

    _bench("image", folder, out, codec, last, repeats, with_lpips)


@app.command()
def audio(
    folder: Folder, out: Out = Path("bench"), codec: Codecs = None, last: Last = None, repeats: Repeats = 1
) -> None:
    """Rate-distortion of our sound codecs beside MP3, Opus, AAC and Vorbis, and speeds per thread.

    Example: isthmus bench audio songs/ --out bench/
    """
    _bench("audio", folder, out, codec, last, repeats)


@app.command()
def tensors(
    folder: Folder, out: Out = Path("bench"), codec: Codecs = None, last: Last = None, repeats: Repeats = 1
) -> None:
    """Bits per parameter and speeds per thread on safetensors files, beside zlib.

    Example: isthmus bench tensors model.safetensors --out bench/
    """
    _bench("tensors", folder, out, codec, last, repeats)


@app.command()
def information(
    latents: Annotated[str, typer.Argument(help="Data set of latents that `isthmus transcode` wrote.")],
    out: Out = Path("bench"),
) -> None:
    """Where the bits of a data set of latents are: by channel and place, what contexts save, what labels tell.

    Example: isthmus bench information latents/ --out bench/
    """
    import json

    from isthmus.bench.compare import aligned
    from isthmus.bench.information import measure, plot
    from isthmus.bench.report import require_matplotlib
    from isthmus.datasets import LatentDataset
    from isthmus.files import atomic_write, make_folder

    require_matplotlib()
    data = LatentDataset(latents)
    make_folder(out)
    found = measure(data)
    typer.echo(aligned(found.table()))
    saved = 1 - found.stream_bits / found.order0_bits if found.order0_bits else 0.0
    typer.echo(
        f"{found.samples} samples: {found.order0_bits / 8:.0f} bytes each by these tables, {found.stream_bits / 8:.0f} "
        f"as they are stored, {100 * saved:.1f} % less"
    )
    atomic_write(out / "information.json", json.dumps(found.describe(), indent=1).encode())
    plot(found, out / "information.png")
    typer.echo(f"written: {out / 'information.json'}, {out / 'information.png'}")


def _bench(
    kind: str,
    folder: Path,
    out: Path,
    codec: list[str] | None,
    last: int | None,
    repeats: int,
    change: Callable[[Any], Any] = lambda medium: medium,
) -> None:
    import isthmus
    from isthmus.bench import report, runs
    from isthmus.bench.medium import medium_of
    from isthmus.files import check_folder
    from isthmus.media.kinds import list_files, tell_left_out

    report.require_matplotlib()
    check_folder(out)
    medium = change(medium_of(kind))
    files = list_files(folder, kind, last=last)
    tell_left_out(folder, kind)
    ours: list[Any] = [isthmus.load(name) for name in codec or isthmus.list_codecs(kind)]
    wrong = next((one for one in ours if one.kind != kind), None)
    if wrong is not None:
        raise ValueError(f"bench {kind}: {wrong.name} encodes {wrong.kind}; see `isthmus bench {wrong.kind}`")
    if not ours:
        raise ValueError(f"bench {kind}: this version has no codec for it; name a weights file with --codec")
    ours = [variant for one in ours for variant in medium.variants(one)]
    peers, notes = medium.peers()
    for note in notes:
        typer.echo(note, err=True)
    rows = runs.run(medium, files, [*ours, *peers], repeats=repeats)
    curves = runs.average(medium, rows)
    count = len({row.file for row in rows})
    paths = report.write_report(medium, rows, curves, out, title=f"{count} {kind} files")
    typer.echo(f"{count} files measured")
    typer.echo(report.markdown_table(medium, curves))
    typer.echo("written: " + ", ".join(str(p) for p in paths))
