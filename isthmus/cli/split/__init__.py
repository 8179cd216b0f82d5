# SPDX-License-Identifier: Apache-2.0
"""`isthmus split ...`: networks in two parts, on a device and on a server."""

import typer

from isthmus.cli.split.export import export
from isthmus.cli.split.send import send
from isthmus.cli.split.serve import serve

app = typer.Typer(no_args_is_help=True, help="Networks in two parts: a device encodes, a server computes the rest.")
for command in (serve, send, export):
    app.command()(command)
