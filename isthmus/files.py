# SPDX-License-Identifier: Apache-2.0
"""Output files that are whole or absent: written beside their target, then renamed onto it."""

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO, cast

from isthmus.errors import UnwritableFileError

_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def _explain(path: Path, error: OSError) -> UnwritableFileError:
    folder = path.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = f"no space left in {folder}; nothing was written: free some space or choose another folder"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = f"no permission to write in {folder}: choose another folder"
    else:
        reason = f"cannot be written: {error.strerror or error}"
    return UnwritableFileError(f"{path}: {reason}")


@contextmanager
def atomic_file(
    path: str | os.PathLike[str],
    *,
    follow: bool = True,
    durable: bool = False,
    like: Path | None = None,
    replace: bool = True,
) -> Iterator[BinaryIO]:
    """A binary file, open for reading, writing and seeking, that becomes `path` when the block ends without an error.

    After any error inside the block nothing new is left in the folder, and an older file at `path` is as it was; else
    the new one has its permissions. A symbolic link is followed, or, without `follow`, replaced; a device or pipe
    (`/dev/null`) is only written to, once all is there. durable: the file is on the disk, not in the system's memory
    alone, before it gets its name. like: a file whose permissions it gets instead. replace: else a file that is there
    when the block ends is kept, and a FileExistsError raised.

    Raises `UnwritableFileError` where the system refuses: missing folder, folder as target, permissions, full disk.
    """
    if is_special(path):  # renaming onto a device would replace the device itself
        with tempfile.TemporaryFile() as whole:
            yield cast(BinaryIO, whole)
            whole.seek(0)
            with _system_errors(Path(path)), open_special(path) as device:
                shutil.copyfileobj(whole, device)
        return
    target = _place(path, follow)
    _check_place(path, target)
    if like is None and target.is_file() and not target.is_symlink():
        like = target
    with _system_errors(target):
        temporary, opened = _open_part(target)
        try:
            with opened as file:
                if like is not None:
                    os.chmod(temporary, like.stat().st_mode & 0o777)
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if replace:
                os.replace(temporary, target)
            else:
                _name_if_new(temporary, target)
        except BaseException:  # KeyboardInterrupt too
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether there is a pipe, a socket, a device or an open file (`/dev/stdout`, `/dev/fd/3`) at `path`."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_special(path: str | os.PathLike[str]) -> BinaryIO:
    """What `is_special` knows, open for writing: an open file goes on where it is, nothing of it is lost."""
    number = _descriptor(path)
    return open(path, "wb") if number is None else os.fdopen(os.dup(number), "wb")


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """The number of an open file of this process that a path names."""
    text = os.fspath(path)
    if text in _STANDARD:
        return _STANDARD[text]
    found = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", text)
    return int(found[1]) if found else None


def check_target(path: str | os.PathLike[str]) -> None:
    """Raises what `atomic_file` would, where that is known beforehand: better before long work than after it."""
    if is_special(path):
        return
    target = _place(path, follow=True)
    _check_place(path, target)
    with _system_errors(target):
        temporary, file = _open_part(target)
        file.close()
        temporary.unlink()


def _check_place(path: str | os.PathLike[str], target: Path) -> None:
    if target.is_dir():
        raise UnwritableFileError(f"{path}: is a folder, not a file: give a file name inside it")
    if not target.parent.is_dir():
        raise UnwritableFileError(f"{path}: the folder {target.parent} does not exist: create it first")


def _open_part(target: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `target`, locked: from then on `remove_leftovers` of another process leaves it alone."""
    while True:
        temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.part")
        # Mode "x" refuses to share a name, and gives the file the permissions of the user's umask.
        file = cast(BinaryIO, open(temporary, "x+b"))  # noqa: SIM115, the caller closes it
        if lock(file) is not False and temporary.exists():
            return temporary, file
        file.close()  # another process took it for a leftover before it was locked: begin again with another name


def _place(path: str | os.PathLike[str], follow: bool) -> Path:
    """Where a file of that name is or would be: what a link leads to, or, without `follow`, the link's own place."""
    if follow:
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(Path(path).parent)) / Path(path).name


def _name_if_new(temporary: Path, target: Path) -> None:
    """Raises FileExistsError where another process was first."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, where the last moment has to do
        if target.exists():
            raise FileExistsError(target) from None
        os.replace(temporary, target)
    else:
        temporary.unlink()


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise _explain(path, error) from error


def lock(file: BinaryIO) -> bool | None:
    """Whether this process alone has an open file now; None where the system cannot tell."""
    try:
        import fcntl
    except ImportError:  # Windows, which refuses to remove an open file
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def remove_leftovers(path: str | os.PathLike[str], *, follow: bool = True) -> None:
    """Removes what `atomic_file` left beside `path` where its process was killed; what others still write stays."""
    target = _place(path, follow)
    _sweep(target.parent, escape(target.name[:40]))


def remove_leftovers_in(folder: Path) -> None:
    """The same of all files in a folder, which is listed once."""
    _sweep(folder, "*")


def _sweep(folder: Path, name: str) -> None:
    for temporary in folder.glob(f".{name}.{12 * '[0-9a-f]'}.part"):
        if not temporary.is_file():  # a pipe would be waited for
            continue
        with suppress(OSError), open(temporary, "rb") as file:
            if lock(file):
                temporary.unlink()


def check_folder(path: str | os.PathLike[str], *, parents: bool = False) -> None:
    """Raises UnwritableFileError where files cannot be written in a folder that is or will be made; it makes nothing.

    parents: folders above it may be missing too.
    """
    folder = Path(path)
    if not parents and not folder.parent.is_dir():
        raise UnwritableFileError(f"{path}: the folder {folder.parent} does not exist: create it first")
    above = folder
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise UnwritableFileError(f"{above}: is a file, where a folder is needed: choose another name")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UnwritableFileError(f"{path}: no permission to write in {above}: choose another folder")


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make the folder `path` unless it is there; its parent must be. Raises `UnwritableFileError`."""
    folder = Path(path)
    check_folder(folder)
    with _system_errors(folder):
        folder.mkdir(exist_ok=True)


def atomic_write(path: str | os.PathLike[str], data: bytes | bytearray | memoryview) -> None:
    """Write `data` to `path`, all of it or nothing. Raises as `atomic_file` does."""
    with atomic_file(path) as file:
        file.write(data)
