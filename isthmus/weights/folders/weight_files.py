# SPDX-License-Identifier: Apache-2.0
"""The files that hold the weights of a model, of all that lie in its folder."""

from pathlib import Path

from isthmus.errors import CorruptStreamError, UnreadableFileError
from isthmus.weights.folders.config import INDEX
from isthmus.weights.folders.hub_cache import snapshot_of
from isthmus.weights.folders.index import read_index, shard_of
from isthmus.weights.folders.names import MARK, PACKED, PLAIN, files_in
from isthmus.weights.safetensors_file import SafetensorsFile

STANDARD = ("model", "diffusion_pytorch_model")  # what transformers and diffusers look for


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of the model in a folder, plain or compressed, in order.

    They are those of our own index, else the single file or the index of a standard name, else all `*.safetensors` and
    `*.dfloat`. Stale shards, consolidated ones and variants (`model.fp16.safetensors`) beside those are left out.

    Raises CorruptStreamError for an index that is damaged, names files outside the folder, or ones that are not there;
    UnreadableFileError for a folder without weights.
    """
    folder = snapshot_of(folder)
    if (folder / INDEX).is_file():
        _refuse_newer(folder)
        return _named_by(folder / INDEX)
    for stem in STANDARD:
        single = shard_of(folder, stem + PLAIN)
        if single:
            return [single]
        index = folder / f"{stem}{PLAIN}.index.json"
        if index.is_file():
            return _named_by(index)
    try:
        found = files_in(folder, PLAIN, PACKED)
    except OSError as error:
        raise UnreadableFileError(f"{folder}: cannot be read: {error.strerror or error}") from error
    if not found:
        raise UnreadableFileError(f"{folder}: the folder has no {PLAIN} or {PACKED} files")
    return found


def _refuse_newer(folder: Path) -> None:
    """Raises CorruptStreamError where a plain model was saved into a compressed folder: one of the two is stale."""
    plain = [folder / f"{STANDARD[0]}{PLAIN}"]
    index = folder / f"{STANDARD[0]}{PLAIN}.index.json"
    if index.is_file():
        plain += [folder / name for name in sorted(set(read_index(index).values()))]
    for path in plain:
        if path.is_file() and path.suffix == PLAIN and MARK not in SafetensorsFile(path).header.metadata:
            raise CorruptStreamError(
                f"{folder}: has plain weights, {path.name}, beside compressed ones; remove those, or the .dfloat files "
                f"and {INDEX}"
            )


def _named_by(index: Path) -> list[Path]:
    found = []
    for name in sorted(set(read_index(index).values())):
        path = shard_of(index.parent, name)
        if path is None:
            raise CorruptStreamError(f"{index}: shard {name} is not there; fetch it first")
        found.append(path)
    return found
