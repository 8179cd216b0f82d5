# SPDX-License-Identifier: Apache-2.0
"""Where the files of a source are written: never onto a source, whatever links lead there."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import UnwritableFileError
from isthmus.files import make_folder
from isthmus.weights.folders.names import packed_name, plain_name
from isthmus.weights.folders.tree import Tree

Rename = Callable[[Path], Path]


@dataclass(frozen=True)
class Placement:
    """root: the target folder, or that of the target file. shards, others: targets by their sources.

    creates: whether folders are to be made.

    Targets are written with `atomic_file(..., follow=False)`, which replaces a link by a file of its own: what the link
    led to may be a source, or belong to another snapshot of the Hugging Face cache.
    """

    root: Path
    shards: dict[Path, Path]
    others: dict[Path, Path]
    creates: bool = True

    def make_folders(self) -> None:
        """Makes the target's folders; the first one's parent must be there. Raises UnwritableFileError."""
        if self.creates:
            make_folder(self.root)
            for target in (*self.shards.values(), *self.others.values()):
                for folder in reversed([folder for folder in target.parents if not folder.exists()]):
                    make_folder(folder)


def place(tree: Tree, dst: str | os.PathLike[str], rename: Rename) -> Placement:
    """Targets of a tree in `dst`; shards are renamed. A single file has its target's name, or goes into a folder.

    Raises UnwritableFileError where a source would be written to, or two files to one target.
    """
    target = Path(dst)
    if not tree.is_folder:
        into = target.is_dir() or os.fspath(dst).endswith((os.sep, "/"))
        file = target / rename(tree.root).name if into else target
        placed = Placement(file.parent, {tree.root: file}, {}, creates=into)
    else:
        real = Path(os.path.realpath(target))
        if any(folder == real or folder in real.parents for folder in tree.folders):
            raise UnwritableFileError(f"{target}: lies in the source folder; choose a folder outside of it")
        placed = Placement(
            target,
            {path: target / rename(path).relative_to(tree.root) for path in tree.shards},
            {path: target / path.relative_to(tree.root) for path in tree.others},
        )
        _check_folders(placed)
        _check_forms(placed)
    _check_sources(placed)
    return placed


def place_within(tree: Tree, rename: Rename) -> Placement:
    """Targets beside the sources, which they are to replace; what one of them has become already is no other source."""
    root = tree.root if tree.is_folder else tree.root.parent
    return Placement(root, {path: rename(path) for path in without_twins(tree.shards)}, {})


def without_twins(shards: Sequence[Path]) -> list[Path]:
    """Shards without the compressed ones whose plain form is there too, as where a run was stopped in between."""
    made = {packed_name(path) for path in shards if packed_name(path) != path}
    return [path for path in shards if path not in made]


def _check_sources(placed: Placement) -> None:
    sources = {os.path.realpath(path) for path in (*placed.shards, *placed.others)}
    sources |= {_place_of(path) for path in (*placed.shards, *placed.others)}
    taken: dict[Path, Path] = {}
    for source, target in (*placed.shards.items(), *placed.others.items()):
        if _place_of(target) in sources:
            raise UnwritableFileError(f"{target}: is the source itself, or one of them; choose another name")
        if target in taken:
            raise UnwritableFileError(f"{source} and {taken[target]}: both would become {target}; move one away")
        taken[target] = source


def _place_of(path: Path) -> str:
    """Where a file of that name is or would be; if it is a link, the place of the link."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def _check_folders(placed: Placement) -> None:
    """Raises UnwritableFileError for folders in the target that are links, through which others would be changed."""
    real = os.path.realpath(placed.root)
    for folder in {target.parent for target in (*placed.shards.values(), *placed.others.values())}:
        if os.path.realpath(folder) != os.path.normpath(os.path.join(real, folder.relative_to(placed.root))):
            raise UnwritableFileError(f"{folder}: a link to {os.path.realpath(folder)}; remove the link first")


def _check_forms(placed: Placement) -> None:
    """Raises UnwritableFileError where a shard is in the target under its other name, and both would count."""
    for target in placed.shards.values():
        for other in {plain_name(target), packed_name(target)} - {target, *placed.shards.values()}:
            if os.path.lexists(other):
                raise UnwritableFileError(
                    f"{other}: would lie beside {target.name}; remove it, or choose another folder"
                )
