# SPDX-License-Identifier: Apache-2.0
"""`isthmus split serve`: the server."""

import ipaddress
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.options import Device
from isthmus.cli.stopping import told_first

UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1 << 10, "MIB": 1 << 20}
LONGEST_TOKEN = 4096  # bytes


def size(text: str) -> int:
    """Bytes of a size as people write it: 1000, 64KiB, 1MiB, 2MB. Raises typer.BadParameter."""
    found = re.fullmatch(r"(\d{1,12})\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in UNITS:
        raise typer.BadParameter(f"{text!r}, expected a size such as 65536, 64KiB or 1MiB")
    return int(found[1]) * UNITS[found[2].upper()]


def serve(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of trainings that have ended, or their head.safetensors.")
    ],
    port: Annotated[int, typer.Option(help="Where it listens; 0: any port that is free.", min=0, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address that it listens at: 0.0.0.0 for all of this machine.")
    ] = "127.0.0.1",
    codec: Annotated[
        str | None, typer.Option("--codec", "-c", help="Weights file of the head's codec, where that does not ship.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File of a secret that requests must bear: Authorization: Bearer SECRET.")
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Requests that are computed at once.", min=1)] = 64,
    max_wait_ms: Annotated[float, typer.Option(help="How long the first of a batch waits for others.", min=0)] = 5.0,
    max_body: Annotated[
        int, typer.Option(help="Largest request: 64KiB, 1MiB, or bytes.", parser=size, metavar="SIZE")
    ] = "1MiB",  # type: ignore[assignment]  # which typer parses
    max_pixels: Annotated[
        int | None, typer.Option(help="Largest image; else four times those the head was trained on.", min=1)
    ] = None,
    queue: Annotated[int, typer.Option(help="Requests inside, beyond which clients are told to wait.", min=1)] = 256,
    workers: Annotated[int, typer.Option(help="Threads that unpack streams.", min=1)] = 2,
    timeout: Annotated[float, typer.Option(help="Seconds in which a request must have come.", min=0.1)] = 10.0,
    device: Device = "cpu",
) -> None:
    """Answer devices that send streams of the head's codec, over HTTP.

    Streams go to the head of their codec; where several are of one, a request names it (?run=NAME, a folder's name).
    POST /predict with a stream as its body gives classes and shares as JSON; GET /health tells the model and its codec,
    GET /metrics counts (docs/split.md). SIGTERM and Ctrl-C end it once what it has accepted is answered.

    Example: isthmus split serve runs/photos

    Example: isthmus split serve runs/photos --host 0.0.0.0 --port 80 --token-file token.txt --device cuda

    Example: isthmus split serve runs/linear runs/split runs/other

    Example: curl --data-binary @photo.ist http://127.0.0.1:8080/predict
    """
    from isthmus.cli.counts import count
    from isthmus.split.server import Limits, open_server
    from isthmus.split.tail import Tail

    token = None if token_file is None else read_token(token_file)
    limits = Limits(max_batch, max_wait_ms / 1000, max_body, queue, workers, timeout)
    tails = {name: Tail.open(run, codec, device, max_pixels=max_pixels) for name, run in _named(runs).items()}
    server = open_server(tails if len(tails) > 1 else tails.popitem()[1], host, port, limits=limits, token=token)
    told = ", ".join(map(str, runs))
    if token is None and not _is_loopback(host):
        print(f"isthmus: warning: whoever reaches {server.url} may ask: --token-file keeps others out", file=sys.stderr)
    with told_first(server.stop):
        server.warm_up()
        typer.echo(f"{told}: at {server.url}, stop it with Ctrl-C")
        sys.stdout.flush()
        server.run()
    typer.echo(f"{told}: stopped, {count(server.answered, 'request')} answered")


def _named(runs: list[Path]) -> dict[str, Path]:
    """Runs by the names of their folders. Raises ValueError where two have one."""
    found: dict[str, Path] = {}
    for run in runs:
        folder = run.resolve() if run.is_dir() else run.resolve().parent
        if folder.name in found:
            raise ValueError(f"{run}: {found[folder.name]} has the same name, {folder.name}; rename one")
        found[folder.name] = run
    return found


def read_token(path: Path) -> str:
    """The secret in a file, without the end of its line. Raises ValueError for one that no header can hold."""
    with open(path, "rb") as file:
        found = file.read(LONGEST_TOKEN + 1).strip()
    if not found or len(found) > LONGEST_TOKEN or not all(0x21 <= byte < 0x7F for byte in found):
        raise ValueError(f"{path}: no token: expected 1 to {LONGEST_TOKEN} ASCII characters without spaces")
    return found.decode("ascii")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
