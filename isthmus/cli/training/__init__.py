# SPDX-License-Identifier: Apache-2.0
"""`isthmus train ...`: trainings from the command line."""

import typer

from isthmus.cli.training.adapter import adapter
from isthmus.cli.training.classify import classify
from isthmus.cli.training.codecs import codec, context
from isthmus.cli.training.dense import dense
from isthmus.cli.training.split import split
from isthmus.cli.training.tag import tag

app = typer.Typer(no_args_is_help=True, help="Train codecs from folders of media, and heads on latents.")
for command in (codec, context, classify, adapter, split, tag, dense):
    app.command()(command)
