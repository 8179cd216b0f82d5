# SPDX-License-Identifier: Apache-2.0
"""Names: shards are `X.safetensors` as they were and `X.dfloat` compressed, which no loader takes for plain; what
begins with a dot is left out."""

from pathlib import Path

PLAIN, PACKED = ".safetensors", ".dfloat"
MARK = "dfloat"  # entry of the metadata that compressed files have


def packed_name(path: Path) -> Path:
    """What a shard is called compressed."""
    return path.with_suffix(PACKED) if path.suffix == PLAIN else path


def plain_name(path: Path) -> Path:
    """What a compressed shard is called decompressed."""
    return path.with_suffix(PLAIN) if path.suffix == PACKED else path


def is_visible(path: Path) -> bool:
    """Whether a file or folder counts: those whose names begin with a dot are litter of editors and systems (`._X` is
    what macOS writes beside X), or hold what is not the model's (`.git`)."""
    return not path.name.startswith(".")


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """The files of these suffixes in a folder, in order, without hidden ones, pipes and devices. Raises OSError."""
    found = (path for path in folder.iterdir() if path.suffix in suffixes and is_visible(path))
    return sorted(path for path in found if path.is_file())
