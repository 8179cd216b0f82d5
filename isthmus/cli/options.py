# SPDX-License-Identifier: Apache-2.0
"""Commands whose flags are those of the codec at hand: `isthmus encode --codec NAME --help` shows NAME's."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from isthmus.options import Options, kinds_of

CodecName = Annotated[
    str | None, typer.Option("--codec", "-c", help="Name (see `isthmus codecs`) or weights file; else by the file.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
_CHOSEN = "isthmus.chosen"


def value_after(arguments: Sequence[str], *flags: str) -> str | None:
    """What the command line gives for a flag, before it is parsed: the codec decides what else can be parsed."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in flags and equals:
            return value
        if argument in flags:
            return arguments[place + 1] if place + 1 < len(arguments) else None
        if argument[:2] in flags and len(argument) > 2 and argument[1] != "-":  # -cNAME
            return argument[2:]
    return None


def first_file(arguments: Sequence[str]) -> str | None:
    """The first argument that is a file: what a command works on."""
    return next((a for a in arguments if not a.startswith("-") and Path(a).is_file()), None)


def flags_of(options: type[Options], title: str) -> list[Any]:
    """The flags of all fields that have one, as a typer command takes them."""
    parameters = []
    for f in (f for f in fields(options) if f.metadata.get("flag", True)):
        kind, name = kinds_of(options)[f.name], f.name.replace("_", "-")
        declarations = [f"--{name}/--no-{name}" if kind.base is bool else f"--{name}"]
        declarations += [f"-{f.metadata['short']}"] if f.metadata.get("short") else []
        about = typer.Option(
            *declarations, help=f.metadata.get("help"), rich_help_panel=title,
            min=f.metadata.get("low"), max=f.metadata.get("high"),
        )  # fmt: skip
        taken: Any = kind.base | None if kind.optional else kind.base
        annotation = Annotated[taken, about]
        parameters.append(Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=annotation))

    def command(**_: Any) -> None: ...

    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    app = typer.Typer(add_completion=False)
    app.command()(command)
    found: list[Any] = typer.main.get_command(app).params
    return [param for param in found if param.name != "help"]


def codec_command(find: Callable[[list[str]], tuple[type[Options], str]]) -> type[TyperCommand]:
    """A command with the flags of the options that `find` finds for the arguments, under the heading it gives."""

    class CodecCommand(TyperCommand):
        def parse_args(self, context: Any, args: list[str]) -> list[str]:
            options, title = find(list(args))
            context.meta[_CHOSEN] = flags_of(options, title)
            rest: list[str] = super().parse_args(context, args)
            context.meta[_CHOSEN] = {p.name: context.params.pop(p.name) for p in context.meta[_CHOSEN]}
            return rest

        def get_params(self, ctx: Any) -> list[Any]:
            chosen = ctx.meta.get(_CHOSEN)
            return [*super().get_params(ctx), *(chosen if isinstance(chosen, list) else [])]

    return CodecCommand


def chosen(context: typer.Context) -> dict[str, Any]:
    """The options of the codec, by name, as the command line gives them."""
    found: dict[str, Any] = context.meta[_CHOSEN]
    return dict(found)
