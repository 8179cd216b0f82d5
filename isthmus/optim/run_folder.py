# SPDX-License-Identifier: Apache-2.0
"""The folder of a training: of one process at a time, and with nothing in it that was somebody else's."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus.files import check_folder, lock
from isthmus.optim.checkpoint import POINTER, is_part

LOCK = ".training"


def check_run(folder: Path, files: Collection[str]) -> None:
    """Raises ValueError for a folder with files that no training wrote, UnwritableFileError where none can be made.

    files: that a training writes beside its checkpoints.
    """
    check_folder(folder, parents=True)
    if not folder.is_dir() or (folder / POINTER).exists():
        return
    known = (*files, LOCK)
    strange = sorted(p.name for p in folder.iterdir() if p.name not in known and not is_part(p.name))
    if strange:
        raise ValueError(
            f"{folder}: holds {strange[0]}{f' and {len(strange) - 1} more' if len(strange) > 1 else ''}, and no "
            "checkpoint: choose an empty folder, or a new one, for a training (--out)"
        )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While it lasts no other training has the folder. Raises ValueError where one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as file:
        if lock(file) is False:
            raise ValueError(f"{folder}: another process is training into it: wait for it, or choose another folder")
        yield
