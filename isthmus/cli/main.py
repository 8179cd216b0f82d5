# SPDX-License-Identifier: Apache-2.0
"""The command `isthmus`. Exit status 0 on success, 2 with one clear line on standard error for bad input."""

import atexit
import gc
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated

import typer

from isthmus.cli import bench, codec, compare, datasets, heads, split, training, transcode, weights
from isthmus.cli.stopping import StoppedError, stop_as_interrupts_do, stopped_status

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Neural codecs whose compressed form is what you store, send and train on.",
)
app.add_typer(training.app, name="train")
app.add_typer(bench.app, name="bench")
app.add_typer(weights.app, name="weights")
app.add_typer(datasets.app, name="datasets")
app.add_typer(split.app, name="split")

codec.register(app)
compare.register(app)
transcode.register(app)
heads.register(app)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"isthmus {version('isthmus')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave.")
]


@app.callback()
def options(debug: Debug = False, version: Version = False) -> None:
    """Neural codecs whose compressed form is what you store, send and train on."""


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"isthmus: warning: {message}\n"


def _look_for_cycles_rarely() -> None:
    """Among the objects of torch that takes a quarter of the time of a short command, most of it at its end."""
    gc.set_threshold(5_000)
    atexit.register(gc.freeze)


def main() -> None:
    """Entry point: runs the command; bad input ends with one line and status 2, unless --debug is given."""
    from isthmus.errors import IsthmusError

    _look_for_cycles_rarely()
    debug = "--debug" in sys.argv
    if debug:
        sys.argv = [sys.argv[0], *(a for a in sys.argv[1:] if a != "--debug")]
    warnings.formatwarning = _one_line
    stop_as_interrupts_do()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # file names of other encodings come out as they went in
            stream.reconfigure(errors="surrogateescape" if stream.encoding.lower() == "utf-8" else "backslashreplace")
    try:
        status = app(standalone_mode=False)
    except KeyboardInterrupt:
        raise SystemExit(_complain("stopped", stopped_status())) from None
    except StoppedError as stopped:
        raise SystemExit(_complain(f"stopped; {stopped}", stopped_status())) from None
    except Exception as error:
        usage = isinstance(error, typer.BadParameter.__bases__)  # UsageError, wherever this typer keeps it
        if usage and type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            raise SystemExit(2) from None
        if debug:
            raise
        text = error.format_message() + " (see --help)" if usage else str(error)  # type: ignore[attr-defined]
        if isinstance(error, OSError) and error.filename is None and error.strerror:
            text = f"what it writes to: {error.strerror}"  # a device or a pipe, which has no name
        if usage or isinstance(error, (IsthmusError, ValueError, TypeError, OSError, MemoryError)):
            raise SystemExit(_complain(text or type(error).__name__, 2)) from None
        name = type(error).__name__
        raise SystemExit(_complain(f"unexpected {name}: {text}; run again with --debug and report it", 1)) from None
    if status == 130:
        raise SystemExit(_complain("stopped", stopped_status()))
    raise SystemExit(status or 0)


def _complain(text: str, status: int) -> int:
    line = "".join(c if c >= " " and c != "\x7f" else "?" for c in " ".join(text.split()))  # of file names
    print(f"isthmus: {line}", file=sys.stderr)
    return status
