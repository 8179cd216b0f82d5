# SPDX-License-Identifier: Apache-2.0
"""Files that are copied as they are."""

import shutil
from pathlib import Path

from isthmus.files import atomic_file, remove_leftovers
from isthmus.weights.folders.config import CONFIG, INDEX, restore_config
from isthmus.weights.folders.done import Done, Told
from isthmus.weights.folders.placement import Placement


def copy_file(source: Path, target: Path, *, durable: bool = False) -> None:
    """Copies a file, whole or not at all; a link at `target` is replaced. durable: as `atomic_file`."""
    with source.open("rb") as opened, atomic_file(target, follow=False, durable=durable, like=source) as out:
        shutil.copyfileobj(opened, out)


def copy_others(placed: Placement, told: Told, *, restores: bool = False) -> None:
    """Makes the folders, and copies what is not weights. restores: undoes what `mark_folders` did."""
    placed.make_folders()
    for source, target in placed.others.items():
        remove_leftovers(target, follow=False)
        if restores and source.name == INDEX:
            continue
        before = after = source.read_bytes() if source.name == CONFIG else b""
        if restores:
            after = restore_config(before)
        elif source.name == CONFIG and target.is_file() and not target.is_symlink():
            continue  # marked or not, that of an earlier run (`check_existing`), which a killed one must not undo
        if after != before:
            with atomic_file(target, follow=False, like=source) as out:
                out.write(after)
        else:
            copy_file(source, target)
        told(Done(source, target, source.stat().st_size, target.stat().st_size, copied=after == before))
