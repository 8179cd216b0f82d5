# SPDX-License-Identifier: Apache-2.0
"""Commands whose flags are those of the codec at hand: `isthmus encode --codec NAME --help` shows NAME's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from isthmus.options import Options, kinds_of

CodecName = Annotated[
    str | None, typer.Option("--codec", "-c", help="Name (see `isthmus codecs`) or weights file; else by the file.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
_CHOSEN = "isthmus.chosen"


@dataclass(frozen=True)
class Sketch:
    """A command line before it is parsed: which codec it is about decides what else it may say.

    places: arguments that are no flag and no flag's value. values: of each flag, the last if it is given again.
    """

    places: list[str]
    values: dict[str, str]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "Sketch":
        """Every flag but --help is taken to have a value."""
        places: list[str] = []
        values: dict[str, str] = {}
        rest = iter(arguments)
        for argument in rest:
            if argument == "--":
                places += rest
            elif argument.startswith("--"):
                name, equals, value = argument.partition("=")
                if name != "--help":
                    values[name] = value if equals else next(rest, "")
            elif argument.startswith("-") and len(argument) > 1:
                values[argument[:2]] = argument[2:] or next(rest, "")
            else:
                places.append(argument)
        return cls(places, values)

    @property
    def source(self) -> str:
        """What the command works on; empty where nothing is given."""
        return self.places[0] if self.places else ""

    @property
    def codec(self) -> str | None:
        return next((value for name, value in reversed(self.values.items()) if name in ("--codec", "-c")), None)


def _seconds(text: str) -> float:
    """A time such as 12, 12.5 or 12s. Raises ValueError."""
    return float(str(text).strip().removesuffix("s"))


def flags_of(options: type[Options], title: str) -> list[Any]:
    """The flags of all fields that have one, as a typer command takes them."""
    parameters = []
    for f in (f for f in fields(options) if f.metadata.get("flag", True)):
        kind, name = kinds_of(options)[f.name], f.metadata.get("name") or f.name.replace("_", "-")
        declarations = [f"--{name}/--no-{name}" if kind.base is bool else f"--{name}"]
        declarations += [f"-{f.metadata['short']}"] if f.metadata.get("short") else []
        about = typer.Option(
            *declarations, help=f.metadata.get("help"), rich_help_panel=title,
            metavar="|".join(map(str, kind.choices)) or None,
            min=f.metadata.get("low"), max=f.metadata.get("high"),
            parser=_seconds if f.metadata.get("seconds") else None,
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


def codec_command(find: Callable[[Sketch], tuple[list[type[Options]], str]]) -> type[TyperCommand]:
    """A command with the flags of the options that `find` finds for the arguments, under the heading it gives."""

    class CodecCommand(TyperCommand):
        def parse_args(self, context: Any, args: list[str]) -> list[str]:
            choices, title = find(Sketch.of(args))
            named = {flag.name: flag for options in reversed(choices) for flag in flags_of(options, title)}
            context.meta[_CHOSEN] = flags = list(named.values())
            rest: list[str] = super().parse_args(context, args)
            values = {flag.name: context.params.pop(flag.name) for flag in flags}
            given = {name for name in values if context.get_parameter_source(name).name == "COMMANDLINE"}
            context.meta[_CHOSEN] = {name: value for name, value in values.items() if name in given}
            return rest

        def get_params(self, ctx: Any) -> list[Any]:
            chosen = ctx.meta.get(_CHOSEN)
            return [*super().get_params(ctx), *(chosen if isinstance(chosen, list) else [])]

    return CodecCommand


def chosen(context: typer.Context) -> dict[str, Any]:
    """The options of the codec that the command line gives, by name."""
    found: dict[str, Any] = context.meta[_CHOSEN]
    return dict(found)
