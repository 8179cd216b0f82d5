# SPDX-License-Identifier: Apache-2.0
"""What an earlier run, stopped or finished, has left of a source that goes as it is compressed."""

import os
from pathlib import Path

from isthmus.errors import UnwritableFileError
from isthmus.weights.folders.existing import Originals
from isthmus.weights.folders.index import INDEXED, read_index
from isthmus.weights.folders.names import PACKED, packed_name
from isthmus.weights.folders.placement import Placement
from isthmus.weights.folders.tree import Tree, read_tree


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
