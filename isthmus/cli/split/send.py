# SPDX-License-Identifier: Apache-2.0
"""`isthmus split send`: a device, for trying out."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def send(
    files: Annotated[list[Path], typer.Argument(help="Photographs, or streams of the server's codec.")],
    url: Annotated[str, typer.Option(help="Of the server.")] = "http://127.0.0.1:8080",
    codec: Annotated[
        str | None, typer.Option("--codec", "-c", help="Weights file of the server's codec, where that does not ship.")
    ] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", "-q", help="Of photographs; else as of the head's data set.", min=1)
    ] = None,
    run: Annotated[str | None, typer.Option(help="Name of the head, where the server holds several.")] = None,
    top: Annotated[int, typer.Option(help="Classes that are told.", min=1)] = 5,
    token_file: Annotated[Path | None, typer.Option(help="File of the server's secret.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that one try may take.", min=0.1)] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a file.")] = False,
) -> None:
    """Send files to `isthmus split serve` and say what it sees in them.

    Photographs are resized, cropped and encoded as the server's head has learnt them; /health tells how. A server that
    is busy or away is asked again, some times.

    Example: isthmus split send photo.jpg stream.ist

    Example: isthmus split send photos/*.jpg --url http://192.168.1.5:8080 --token-file token.txt --quality 30
    """
    from isthmus.cli.split.serve import read_token
    from isthmus.split.client import Client

    token = None if token_file is None else read_token(token_file)
    with Client(url, token, timeout) as client:
        payload = Payloads(client, codec, quality, run)
        for file in files:
            data = payload.of(file)
            told = client.predict(data, top=top, run=run)["top"]
            if as_json:
                shares = {one["class"]: one["share"] for one in told}
                typer.echo(json.dumps({"file": str(file), "bytes": len(data), **shares}, ensure_ascii=False))
            else:
                seen = ", ".join(f"{one['class']} {100 * one['share']:.1f} %" for one in told)
                typer.echo(f"{file}: {seen} ({len(data)} bytes)")


class Payloads:
    """What is sent of files: streams as they are, photographs encoded by the codec that the server names."""

    def __init__(self, client: Any, codec: str | None, quality: int | None, run: str | None) -> None:
        self._client, self._named, self._run = client, codec, run
        self._options = {} if quality is None else {"quality": quality}
        self._codec: Any = None
        self._settings: dict[str, Any] = {}

    def of(self, file: Path) -> bytes:
        """Raises UnreadableFileError, RemoteError, UnknownCodecError, WeightsMismatchError."""
        from isthmus.bitstream import MAGIC
        from isthmus.split.reading import analyze_file, open_codec

        with open(file, "rb") as opened:
            if opened.read(len(MAGIC)) == MAGIC:
                return MAGIC + opened.read()
        if self._codec is None:
            told = self._client.health(self._run)
            self._codec, self._settings = open_codec(told["codec"], self._named), told["settings"]
        made: bytes = self._codec.pack(analyze_file(self._codec, file, self._settings, **self._options))
        return made
