# SPDX-License-Identifier: Apache-2.0
"""Commands whose flags are those of the codec at hand: `isthmus encode --codec NAME --help` shows NAME's."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from isthmus.cli.pipes import is_pipe
from isthmus.cli.times import seconds
from isthmus.options import Options, kinds_of

CodecName = Annotated[
    str | None, typer.Option("--codec", "-c", help="Name (see `isthmus codecs`) or weights file; else by the file.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
MEDIA = {"image": "images", "audio": "sound"}  # whose options are shown where nothing tells which it will be
OF = "Options of "
USAGE_ERROR: Any = typer.BadParameter.__bases__[0]  # wherever this typer keeps it
OTHERS = " (another --codec has its own)"
_CHOSEN = "isthmus.chosen"
Headed = tuple[str, list[type[Options]]]  # a heading of --help, and the options under it


@dataclass(frozen=True)
class Sketch:
    """A command line before it is parsed: which codec it is about decides what else it may say.

    places: arguments that are no flag and no flag's value. values: of each flag, the last if it is given again.
    """

    places: list[str]
    values: dict[str, str]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "Sketch":
        """Every flag but --help and --no-... is taken to have a value."""
        places: list[str] = []
        values: dict[str, str] = {}
        rest = iter(arguments)
        for argument in rest:
            if argument == "--":
                places += rest
            elif argument.startswith("--"):
                name, equals, value = argument.partition("=")
                if name != "--help" and not name.startswith("--no-"):
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


def flags_of(options: type[Options], title: str) -> list[Any]:
    """The flags of all fields that have one, as a typer command takes them."""
    parameters = []
    for f in (f for f in fields(options) if f.metadata.get("flag", True)):
        kind, name = kinds_of(options)[f.name], f.metadata.get("name") or f.name.replace("_", "-")
        declarations = [f"--{name}/--no-{name}" if kind.base is bool else f"--{name}"]
        declarations += [f"-{f.metadata['short']}"] if f.metadata.get("short") else []
        is_time = bool(f.metadata.get("seconds"))  # its bounds are left to the options
        about = typer.Option(
            *declarations, help=f.metadata.get("help"), rich_help_panel=title,
            metavar="|".join(map(str, kind.choices)) or ("12s|1:02.5" if is_time else None),
            min=None if is_time else f.metadata.get("low"), max=None if is_time else f.metadata.get("high"),
            parser=seconds if is_time else None,
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


def codec_command(find: Callable[[Sketch], list[Headed]]) -> type[TyperCommand]:
    """A command with the flags of the options that `find` finds for the arguments; of two of a name, the first.

    Flags under more than one heading get one of their own. One that `find` knows where nothing is given, but not for
    the arguments, is refused as that of another kind.
    """

    class CodecCommand(TyperCommand):
        def parse_args(self, context: Any, args: list[str]) -> list[str]:
            found = find(Sketch.of(args))
            context.meta[_CHOSEN] = flags = list(_flags(found).values())
            try:
                rest: list[str] = super().parse_args(context, args)
            except USAGE_ERROR as error:
                told = _of_another_kind(getattr(error, "option_name", None), found, find(Sketch([], {})))
                if told is None:
                    raise
                raise USAGE_ERROR(told) from error
            values = {flag.name: context.params.pop(flag.name) for flag in flags}
            given = {name for name in values if context.get_parameter_source(name).name == "COMMANDLINE"}
            context.meta[_CHOSEN] = {name: value for name, value in values.items() if name in given}
            return rest

        def get_params(self, ctx: Any) -> list[Any]:
            chosen = ctx.meta.get(_CHOSEN)
            return [*super().get_params(ctx), *(chosen if isinstance(chosen, list) else [])]

    return CodecCommand


def _flags(headed: list[Headed]) -> dict[str, Any]:
    """Flags by name, under their headings; those of several before the others."""
    named: dict[str, Any] = {}
    again: set[str] = set()
    for title, owners in headed:
        here = {flag.name: flag for options in reversed(owners) for flag in flags_of(options, title)}
        again |= named.keys() & here.keys()
        named = {**named, **{name: flag for name, flag in here.items() if name not in named}}
    for name in again:
        named[name].rich_help_panel = OF + " and ".join(_about(title) for title, _ in headed)
    return {name: named[name] for name in sorted(named, key=lambda name: name not in again)}


def _about(title: str) -> str:
    """Of what a heading is, in a word."""
    return title.removeprefix(OF).partition(" (")[0]


def _of_another_kind(flag: str | None, found: list[Headed], known: list[Headed]) -> str | None:
    """What to say of a flag that is not among those `found`, if it is one of the `known`."""
    if not flag or not found:
        return None
    having = []
    for heading in known:
        names = [name for f in _flags([heading]).values() for name in (*f.opts, *f.secondary_opts)]
        having += [heading[0]] if flag in names else []
    same = [title for title, owners in known for _, own in found if owners[-1] in own]
    this = _about((same or [found[0][0]])[0])
    return f"{flag} is for {_about(having[0])}; this is {'an image' if this == 'images' else this}" if having else None


def chosen(context: typer.Context) -> dict[str, Any]:
    """The options of the codec that the command line gives, by name."""
    found: dict[str, Any] = context.meta[_CHOSEN]
    return dict(found)


def encode_options(line: Sketch) -> list[Headed]:
    """The options of encoding for a command line, those of reading files before the codec's."""
    from isthmus.codecs.registry import class_of, default_codec
    from isthmus.media.kinds import room, told_kind

    told = None if is_pipe(line.source) else told_kind(line.source)
    if line.codec or told or Path(line.source).is_file():
        name = line.codec or default_for(line.source)
        codec = class_of(name)
        title = f"Options of {name}" + ("" if line.codec else OTHERS)
        return [(title, [room(codec.kind).ReadOptions, codec.Options])]
    found = []
    for kind, name in MEDIA.items():
        codec = class_of(default_codec(kind))
        found.append((f"{OF}{name} ({default_codec(kind)})", [room(kind).ReadOptions, codec.Options]))
    return found


def default_for(source: Path | str) -> str:
    """The codec for a file where nobody names one. Raises UnknownCodecError, UnreadableFileError."""
    from isthmus.codecs.registry import default_codec
    from isthmus.errors import MissingExtraError, UnknownCodecError
    from isthmus.media.audio import open_sound
    from isthmus.media.kinds import kind_of

    kind = kind_of(source)
    if kind == "video":
        with suppress(MissingExtraError):
            open_sound(source)  # raises where there is none
        raise UnknownCodecError(
            f"{source}: no codec of this version encodes moving pictures; for the sound alone add "
            f"--codec {default_codec('audio')}"
        )
    return default_codec(kind, str(source))


def decode_options(line: Sketch) -> list[Headed]:
    """The options of decoding for a command line."""
    from isthmus.bitstream import read_header
    from isthmus.codecs.registry import class_of, codec_class, default_codec
    from isthmus.errors import IsthmusError

    try:
        if Path(line.source).is_file():  # a pipe can be read once
            with open(line.source, "rb") as file:
                codec_id = read_header(file).codec_id
            return [(f"Options of {codec_id}", [codec_class(codec_id).DecodeOptions])]
    except (OSError, IsthmusError):  # the command says what is wrong
        pass
    if line.codec:
        return [(f"Options of {line.codec}", [class_of(line.codec).DecodeOptions])]
    return [(OF + name, [class_of(default_codec(kind)).DecodeOptions]) for kind, name in MEDIA.items()]
