# SPDX-License-Identifier: Apache-2.0
"""`isthmus bench split`."""

from pathlib import Path
from typing import Annotated

import typer


def split(
    run: Annotated[Path, typer.Argument(help="Run of `isthmus train split` or `train adapter`.")],
    photographs: Annotated[
        str | None, typer.Argument(help="Class folders that were kept out of the training; else times alone are told.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for JSON and plots.")] = Path("bench"),
    codec: Annotated[
        str | None, typer.Option("--codec", "-c", help="Weights file of the run's codec, where it is not in the run.")
    ] = None,
    quality: Annotated[int, typer.Option("--quality", "-q", help="Whose latency is told.", min=1, max=100)] = 50,
    pictures: Annotated[int | None, typer.Option(help="At most so many, drawn evenly.", min=2)] = None,
    timed: Annotated[int, typer.Option(help="Pictures that are timed.", min=1)] = 32,
    round_trip: Annotated[float, typer.Option(help="Of the link, in seconds.", min=0)] = 0.03,
    loss: Annotated[float, typer.Option(help="Share of packets that are lost.", min=0, max=0.5)] = 0.0,
    jitter: Annotated[float, typer.Option(help="Mean seconds that packets are late.", min=0)] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the link's chance.", min=0)] = 0,
    device_slower: Annotated[
        float, typer.Option(help="Times that a device takes as long as this machine.", min=0.01)
    ] = 1.0,
) -> None:
    """What a split network gains and costs: bytes, accuracy, and time from a picture to its answer over links.

    Beside it JPEG, WebP and raw pixels into the whole network, features rounded without training, and the device alone.
    Each computes one picture at a time on one thread; links from 0.1 to 100 Mbit/s are simulated. Energy is not told:
    it goes with what the device computes and sends, which are.

    Example: isthmus bench split runs/split photos-validation/ --out bench/

    Example: isthmus bench split runs/split photos/ --pictures 200 --round-trip 0.08 --loss 0.01 --device-slower 10
    """
    from isthmus.bench.compare import aligned
    from isthmus.bench.report import require_matplotlib
    from isthmus.bench.split import compare_ways
    from isthmus.bench.split.latency import latencies
    from isthmus.bench.split.report import sentences, table, write_report
    from isthmus.files import check_folder, make_folder
    from isthmus.split.link import Link

    require_matplotlib()
    check_folder(out, parents=True)
    link = Link(1e6, round_trip, loss, jitter, seed)
    found = compare_ways(run, photographs, codec=codec, quality=quality, timed=timed, most=pictures)
    shown = [latencies(one, link, slower=device_slower) for one in found.shown]
    make_folder(out)
    typer.echo(aligned(table(found.found, found.whole)))
    if photographs is not None and found.whole.judged is None:
        typer.echo(f"{run} keeps no tuned backbone (teacher/): ways are timed, not judged", err=True)
    for line in sentences(shown):
        typer.echo(line)
    title = f"{run.name}: {found.count} pictures"
    paths = write_report(found.found, found.whole, shown, link, device_slower, out, title)
    typer.echo(f"written: {', '.join(str(path) for path in paths)}")
