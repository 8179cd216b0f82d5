# SPDX-License-Identifier: Apache-2.0
"""`-` and pipes as sources and targets of commands, whose readers and writers want files that they can go back in."""

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import typer

from isthmus.errors import IsthmusError
from isthmus.files import atomic_file, check_target, is_special, open_special

STANDARD = "-"  # input or output
NAMES = ("standard input", "standard output")


def is_pipe(path: str | Path) -> bool:
    """Whether a name stands for standard input or output, a pipe or a device."""
    return str(path) == STANDARD or is_special(path)


def standard_input() -> BinaryIO:
    """Bytes of standard input. Raises ValueError where it is closed."""
    if sys.stdin is None:
        raise ValueError("-: standard input is closed: give a file")
    return sys.stdin.buffer


class Begun(io.RawIOBase):
    """A pipe whose first bytes were looked at. pipe: without a buffer, so that all bytes are there or in `head`."""

    def __init__(self, pipe: BinaryIO) -> None:
        self.head, self.pipe = b"", pipe

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.pipe.fileno()

    def look(self, count: int) -> bytes:
        """The next bytes, which stay; fewer at the end."""
        while len(self.head) < count:
            more = self.pipe.read(count - len(self.head))
            if not more:
                break
            self.head += more
        return self.head[:count]

    def read(self, count: int = -1) -> bytes:
        """So many of the next bytes, the first ones among them; fewer at the end."""
        if count is None or count < 0:
            found, self.head = self.head + self.pipe.read(), b""
            return found
        pieces: list[bytes] = []
        while count:
            piece = self.read_some(count)
            if not piece:
                break
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def read_some(self, count: int) -> bytes:
        """At most so many of the next bytes, as soon as there are any; none at the end."""
        if self.head:
            found, self.head = self.head[:count], self.head[count:]
            return found
        return self.pipe.read(count)


@contextmanager
def begun(source: Path) -> Iterator[Begun]:
    """A pipe or standard input, with nothing read yet."""
    if str(source) == STANDARD:
        standard = standard_input()
        yield Begun(getattr(standard, "raw", standard))
    else:
        with open(source, "rb", buffering=0) as pipe:
            yield Begun(pipe)  # type: ignore[arg-type]


def shown_as(source: Path) -> str:
    """How errors name what is read."""
    return NAMES[0] if str(source) == STANDARD else str(source)


@contextmanager
def about(source: Path) -> Iterator[None]:
    """Errors of what `source` holds name it."""
    name = shown_as(source)
    try:
        yield
    except ValueError as error:
        if name in str(error):
            raise
        raise ValueError(f"{name}: {str(error).removeprefix('encode: ')}") from error


@contextmanager
def readable(source: Path, pipe: Begun | None = None) -> Iterator[Path]:
    """A file with what `source` holds, in whose place errors name what was asked for. pipe: what is open of it."""
    if not is_pipe(source):
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "input"
        with open(copy, "wb") as file, begun(source) if pipe is None else nullcontext(pipe) as opened:
            shutil.copyfileobj(opened, file)
        with _named(copy, shown_as(source)):
            yield copy


@contextmanager
def sink(target: Path, *, source: Path) -> Iterator[BinaryIO]:
    """What takes bytes while they are made: a file, whole or absent, or the pipe itself. Refuses as `writable`."""
    if not is_pipe(target):
        with writable(target, source=source) as place, atomic_file(place) as file:
            yield file
        return
    _check_output(target, source)
    if str(target) == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.flush()
    else:
        with open_special(target) as pipe:
            yield pipe


@contextmanager
def writable(target: Path, suffix: str = "", *, source: Path | None = None) -> Iterator[Path]:
    """A file to write, whose bytes go to `target`; what can be known is refused before the work begins.

    suffix: what tells the format where `target` has none. Raises ValueError for the source itself as the target, and
    for a terminal; UnwritableFileError as `check_target`.
    """
    if not is_pipe(target):
        if source is not None and (_same(source, target) or _is_standard_input(source, target)):
            raise ValueError(f"{target}: is the input, which would be replaced: choose another name")
        check_target(target)
        yield target
        return
    _check_output(target, source)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"output{suffix}"
        with _named(copy, NAMES[1] if str(target) == STANDARD else str(target)):
            yield copy
        with open(copy, "rb") as file:
            if str(target) == STANDARD:
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.flush()
            else:
                with open_special(target) as pipe:
                    shutil.copyfileobj(file, pipe)


def _check_output(target: Path, source: Path | None) -> None:
    """Raises ValueError where standard output is meant and takes no data, or an open file is the source."""
    if source is not None and source.is_file() and _same(source, target):
        raise ValueError(f"{target}: is the input, which would be replaced: choose another name")
    if str(target) == STANDARD and sys.stdout is None:
        raise ValueError("-: standard output is closed: give a file")
    if str(target) == STANDARD and sys.stdout.isatty():
        raise ValueError("-: standard output is a terminal, which shows no such data: give a file, or pipe it on")


@contextmanager
def piped(source: Path, target: str | None, suffix: str) -> Iterator[tuple[Path, Any, bool]]:
    """Both as files where they are pipes, or as they are; and whether lines must go to standard error."""
    with ExitStack() as stack:
        place = target
        if target is not None and is_pipe(target):
            place = str(stack.enter_context(writable(Path(target), suffix)))
        yield stack.enter_context(readable(source)), place, target is not None and _is_standard_output(Path(target))


def renamed(echo: Callable[[str], None], place: object, target: object) -> Callable[[str], None]:
    """`echo` of lines in which the target has its own name."""
    return echo if place == target else lambda line: echo(line.replace(str(place), str(target)))


def tell(line: str, target: Path) -> None:
    """Prints a line, to standard error where the data go to standard output."""
    typer.echo(line, err=_is_standard_output(target))


def _is_standard_output(target: Path) -> bool:
    return str(target) == STANDARD or (is_special(target) and _same_file(target, Path("/dev/stdout")))


def _is_standard_input(source: Path, target: Path) -> bool:
    """Whether standard input is read, and is the file `target`."""
    if str(source) != STANDARD or sys.stdin is None or not target.exists():
        return False
    try:
        return os.path.samestat(os.fstat(sys.stdin.fileno()), target.stat())
    except (OSError, ValueError):
        return False


def _same(source: Path, target: Path) -> bool:
    return source.exists() and target.exists() and _same_file(source, target)


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


@contextmanager
def _named(copy: Path, name: str) -> Iterator[None]:
    try:
        yield
    except IsthmusError as error:
        raise type(error)(str(error).replace(str(copy), name)) from error
    except ValueError as error:
        if str(copy) not in str(error):
            raise
        raise ValueError(str(error).replace(str(copy), name)) from error
