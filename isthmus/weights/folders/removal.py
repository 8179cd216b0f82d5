# SPDX-License-Identifier: Apache-2.0
"""Sources that their compressed form replaces: removed when that is on the disk and its SHA-256 is the source's.

Some may be gone already, by an earlier run that was stopped or by another one at the same time."""

import os
from pathlib import Path

from isthmus.errors import CorruptStreamError, UnwritableFileError
from isthmus.weights.compression_options import Options
from isthmus.weights.decompression import restore
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.config import CONFIG
from isthmus.weights.folders.existing import Originals
from isthmus.weights.folders.index import INDEXED, read_index
from isthmus.weights.folders.names import MARK, PACKED, packed_name
from isthmus.weights.folders.placement import Placement
from isthmus.weights.folders.tree import Tree, read_tree
from isthmus.weights.safetensors_file import SafetensorsFile


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


def replace_source(source: Path, target: Path, options: Options, *, is_verified: bool = False) -> None:
    """Removes a source after its compressed form was decoded from the disk and found whole, now or (`is_verified`) by
    the caller just now.

    Raises CorruptStreamError where it was not: then the source stays and the target goes.
    """
    if is_verified:
        _sync(target)  # an earlier run may have left it in the system's memory
    else:
        _verify(source, target, options)
    _sync(target.parent)
    try:
        source.unlink(missing_ok=True)  # another run of the same command may have been quicker
    except OSError as error:
        raise UnwritableFileError(f"{source}: cannot be removed: {error.strerror or error}") from error


def _verify(source: Path, target: Path, options: Options) -> None:
    try:
        _decode(target, options)
    except CorruptStreamError as error:
        target.unlink(missing_ok=True)
        if MARK in SafetensorsFile(source).header.metadata:
            _decode(source, options)  # raises where the damage was there before
        raise CorruptStreamError(
            f"{target}: was not written as it should have been and is removed again, {source} stays; run the same "
            f"command again, and check the disk if that does not help ({error})"
        ) from None


def _decode(path: Path, options: Options) -> None:
    base = options.base.path if options.base else None
    restore(WeightFile(path, base=base), lambda data: None, threads=options.threads, progress=lambda count: None)


def _sync(path: Path) -> None:
    """Has a file, or the names in a folder, on the disk, where the system knows how."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def earlier_shards(dst: Path, tree: Tree) -> tuple[Path, ...]:
    """Shards in the target whose sources an earlier run may have removed.

    Raises UnwritableFileError for a single file that would count instead of the shards of a source with an index.
    """
    if not dst.is_dir():
        return ()
    found = tuple(path for path in read_tree(dst).shards if path.suffix == PACKED)
    for index in (path for path in tree.others if path.name.endswith(INDEXED)):
        single = Path(index.name.removesuffix(INDEXED) + PACKED)
        path = dst / index.parent.relative_to(tree.root) / single
        if path in found and single not in {packed_name(Path(name)) for name in read_index(index).values()}:
            raise UnwritableFileError(f"{path}: of other weights than {tree.root} has; choose another folder")
    return found


def twin_folders(tree: Tree, root: Path) -> dict[Path, Path]:
    """Folders of the target by those of the source."""
    return {folder: root / folder.relative_to(tree.root) for folder in {path.parent for path in tree.others}}


def check_pairs(placed: Placement, originals: Originals) -> None:
    """Raises UnwritableFileError where the name of a compressed form is taken, by itself or by other weights."""
    for source, target in placed.shards.items():
        if source == target and source.suffix != PACKED:
            raise UnwritableFileError(f"{source}: expected a name that ends in .safetensors, to be compressed in place")
        if source != target and os.path.lexists(target) and originals.sha256(source) != originals.sha256(target):
            raise UnwritableFileError(f"{target}: holds other weights than {source.name}; move one of them away")
