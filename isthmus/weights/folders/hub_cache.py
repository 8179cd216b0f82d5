# SPDX-License-Identifier: Apache-2.0
"""Folders of models in the Hugging Face cache: `blobs`, and `snapshots` of links to them."""

from pathlib import Path

from isthmus.errors import UnreadableFileError
from isthmus.weights.folders.names import is_visible


def is_cache(folder: Path) -> bool:
    """Whether a folder is that of a model in the Hugging Face cache."""
    named = folder.name.startswith(("models--", "datasets--", "spaces--"))
    parts = (folder / "blobs").is_dir() and (folder / "refs").is_dir()
    return (named or parts) and (folder / "snapshots").is_dir()


def snapshot_of(folder: Path) -> Path:
    """The snapshot that a folder of the Hugging Face cache means, that of `main` or the only one; else the folder."""
    if not is_cache(folder):
        return folder
    snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir() and is_visible(path))
    main = folder / "refs" / "main"
    if main.is_file():
        revision = main.read_text(encoding="utf-8", errors="replace").strip()
        for path in snapshots:
            if path.name == revision:
                return path
        raise UnreadableFileError(f"{main}: names revision {revision[:80]!r}, which is not there; fetch it first")
    if len(snapshots) == 1:
        return snapshots[0]
    names = ", ".join(path.name for path in snapshots)
    raise UnreadableFileError(
        f"{folder}: a Hugging Face cache with {len(snapshots)} snapshots and no refs/main; give one of {names}"
        if snapshots
        else f"{folder}: a Hugging Face cache without a snapshot; fetch the model first"
    )
