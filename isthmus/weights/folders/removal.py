# SPDX-License-Identifier: Apache-2.0
"""Sources that their compressed form replaces: removed when that is on the disk and its SHA-256 is the source's."""

import os
from pathlib import Path

from isthmus.errors import CorruptStreamError, UnwritableFileError
from isthmus.weights.compression_options import Options
from isthmus.weights.decompression import restore
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.config import CONFIG
from isthmus.weights.folders.tree import Tree


def check_removable(src: Path, tree: Tree, options: Options) -> None:
    """Raises UnwritableFileError where others may need the files: links, a Hugging Face cache, the base of a delta."""
    real = os.path.realpath(tree.root)
    for path in (*tree.shards, *(path for path in tree.others if path.name == CONFIG)):
        place = os.path.join(real, path.relative_to(tree.root)) if tree.is_folder else os.path.abspath(path)
        if path.is_symlink() or tree.root != src or (tree.is_folder and os.path.realpath(path) != place):
            raise UnwritableFileError(
                f"{path}: a link, or of the Hugging Face cache, so it is not removed; compress to another folder "
                "without in_place and delete_source"
            )
    base = options.base and os.path.realpath(options.base.path)
    if base and base in {real, *(os.path.realpath(path) for path in tree.shards)}:
        raise UnwritableFileError(f"{options.base and options.base.path}: is the base, which decompressing will need")


def replace_source(source: Path, target: Path, options: Options) -> None:
    """Removes a source after its compressed form, which is on the disk, was decoded and found whole.

    Raises CorruptStreamError where it was not: then the source stays and the target goes.
    """
    try:
        base = options.base.path if options.base else None
        restore(WeightFile(target, base=base), lambda data: None, threads=options.threads, progress=lambda count: None)
    except CorruptStreamError:
        target.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
    try:
        source.unlink()
    except OSError as error:
        raise UnwritableFileError(f"{source}: cannot be removed: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    """Has the names in a folder on the disk, where the system knows how."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
