# SPDX-License-Identifier: Apache-2.0
"""The files of a source: one file, or those of a folder without hidden files and folders, links followed."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from isthmus.errors import UnreadableFileError
from isthmus.weights.folders.hub_cache import is_cache, snapshot_of
from isthmus.weights.folders.names import PACKED, PLAIN, is_visible
from isthmus.weights.folders.pickles import PICKLES, conversion

LEFTOVER = re.compile(r"\..*\.[0-9a-f]{12}\.part")  # of `atomic_file`, where its process was killed


@dataclass(frozen=True)
class Tree:
    """root: the folder, or the file itself. shards: plain or compressed files of weights. others: all other files.

    folders: real paths of all folders that were gone through. left_out: hidden files and folders, and what is no file,
    such as pipes, which would be waited for.
    """

    root: Path
    shards: tuple[Path, ...]
    others: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()

    @property
    def is_folder(self) -> bool:
        return bool(self.folders)


def read_tree(src: Path) -> Tree:
    """The files of `src`: paths that begin with the root's, in order.

    Raises UnreadableFileError for a folder that is not there, links that lead nowhere or in a circle, and an unclear
    cache.
    """
    if not src.is_dir():
        return Tree(src, (src,))
    root = snapshot_of(src)
    folders: list[Path] = []
    left_out: list[Path] = []
    files = sorted(_walk(root, (), folders, left_out))
    shards = tuple(path for path in files if path.suffix in (PLAIN, PACKED))
    others = tuple(path for path in files if path.suffix not in (PLAIN, PACKED))
    return Tree(root, shards, others, tuple(folders), tuple(left_out))


def require_shards(tree: Tree) -> Tree:
    """The tree. Raises UnreadableFileError where it has no weights, with the command that makes them of pickles."""
    if tree.shards:
        return tree
    pickles = [path for path in tree.others if path.suffix in PICKLES]
    if not pickles:
        raise UnreadableFileError(f"{tree.root}: the folder has no {PLAIN} or {PACKED} files")
    raise UnreadableFileError(
        f"{tree.root}: {pickles[0].name} is a pickle of PyTorch's; convert it to {PLAIN} first: {conversion(pickles)}"
    )


def _walk(folder: Path, above: tuple[Path, ...], folders: list[Path], left_out: list[Path]) -> list[Path]:
    """Files in a folder and below; `above`: real paths of the folders that it lies in."""
    real = Path(os.path.realpath(folder))
    if real in above:
        raise UnreadableFileError(f"{folder}: a link to the folder {real} that it lies in; remove the link")
    if above and is_cache(folder):
        raise UnreadableFileError(f"{folder}: the Hugging Face cache of a model; give that folder itself")
    folders.append(real)
    found = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UnreadableFileError(f"{folder}: cannot be read: {error.strerror or error}") from error
    for path in entries:
        if not is_visible(path):
            if not LEFTOVER.fullmatch(path.name):
                left_out.append(path)
        elif path.is_dir():
            found += _walk(path, (*above, real), folders, left_out)
        elif path.is_file():
            found.append(path)
        elif path.is_symlink() and not path.exists():
            raise UnreadableFileError(f"{path}: a link to {os.readlink(path)}, which is not there; fetch or remove it")
        else:
            left_out.append(path)
    return found
