# SPDX-License-Identifier: Apache-2.0
"""`compress`, `decompress` and `verify`: a safetensors file, or a Hugging Face folder with shards and other files."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.codecs.dfloat.coding import MODES, Mode
from isthmus.codecs.dfloat.dtypes import CODED
from isthmus.errors import CorruptStreamError, IsthmusError, UnreadableFileError, UnwritableFileError
from isthmus.files import atomic_file, make_folder, remove_leftovers
from isthmus.weights.base_checkpoint import MARK, BaseCheckpoint, sha256_of
from isthmus.weights.compression import Options, Progress, check_source, compress_file
from isthmus.weights.decompression import restore
from isthmus.weights.dfloat_file import WeightFile, refuse_upstream
from isthmus.weights.safetensors_file import SafetensorsFile

SHARD = ".safetensors"
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Done:
    """A file that was made, or (`skipped`) was there already; source_bytes and target_bytes are its sizes.

    kept: dtypes that are never coded, such as those of integers or one that this version does not know, and how many
    tensors of each were kept as they are; when compressing.
    """

    source: Path
    target: Path
    source_bytes: int
    target_bytes: int
    skipped: bool = False
    kept: dict[str, int] = field(default_factory=dict)


def compress(
    src: PathLike,
    dst: PathLike,
    *,
    mode: Mode = "huffman",
    threads: int | None = None,
    base: PathLike | None = None,
    index: bool = False,
    progress: Progress | None = None,
) -> list[Done]:
    """Compresses a safetensors file, or every one in a folder, without loss; other files of a folder are copied.

    mode: "huffman" decodes fastest, "rans" is about 0.3 % smaller. threads: all cores when None. base: a checkpoint
    (file or folder) that tensors of the same name, dtype and shape are stored relative to, where that is smaller; it is
    needed again to decompress. index: store where each 64 weights begin (0.8 %), which is otherwise found when a GPU
    loads the file. progress: called with numbers of bytes as they are done; `total_bytes` says how many there will be.

    Each file is written whole or not at all. Run again after an interruption, it goes on at the first missing shard.
    Raises ValueError for wrong arguments, UnreadableFileError, CorruptStreamError and UnwritableFileError.
    """
    if mode not in MODES:
        raise ValueError(f"compress: mode {mode!r}, expected 'huffman' or 'rans'")
    options = Options(mode, _threads(threads), index, None if base is None else BaseCheckpoint(Path(base)))
    report = progress or _silent

    def one(source: Path, target: Path) -> Done:
        file = SafetensorsFile(source)
        skipped = _is_made(file, target, options)
        if skipped:
            report(file.header.data_bytes)
        else:
            compress_file(file, target, options, report)
        kept = Counter(t.dtype for t in file.header.tensors if t.dtype not in CODED)
        return Done(source, target, len(file.bytes), target.stat().st_size, skipped, dict(kept))

    return _each(Path(src), Path(dst), _check_sources, one)


def decompress(
    src: PathLike,
    dst: PathLike,
    *,
    threads: int | None = None,
    base: PathLike | None = None,
    progress: Progress | None = None,
) -> list[Done]:
    """The inverse of `compress`: files that are the original ones byte for byte, by their SHA-256; whole or not at all.

    Raises as `compress`, and WeightsMismatchError for a delta without its base.
    """

    def one(source: Path, target: Path) -> Done:
        file = WeightFile(source, base=None if base is None else Path(base))
        with atomic_file(target) as out:
            restore(file, lambda part: out.write(part.data), threads=_threads(threads), progress=progress or _silent)
        return Done(source, target, len(file.file.bytes), target.stat().st_size)

    return _each(Path(src), Path(dst), _check_made, one)


def verify(
    src: PathLike, *, threads: int | None = None, base: PathLike | None = None, progress: Progress | None = None
) -> list[Path]:
    """Decodes a compressed file, or each one in a folder, and compares with the SHA-256 of its original.

    Returns the files. Raises CorruptStreamError naming the first tensor that is damaged, and as `decompress`.
    """
    found = shards(Path(src))
    _check_made(found)
    for shard in found:
        restore(
            WeightFile(shard, base=None if base is None else Path(base)),
            lambda data: None,
            threads=_threads(threads),
            progress=progress or _silent,
        )
    return found


def total_bytes(src: PathLike) -> int:
    """The sum that `progress` will be told: bytes of tensors, decompressed. Raises as `compress`."""
    total = 0
    for shard in shards(Path(src)):
        file = SafetensorsFile(shard)
        compressed = MARK in file.header.metadata
        total += int(_told_bytes(file)) if compressed else file.header.data_bytes
    return total


def _told_bytes(file: SafetensorsFile) -> int:
    try:
        return int(json.loads(file.header.metadata[MARK])["bytes"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CorruptStreamError(f"{file.path}: the metadata entry {MARK!r} is damaged") from None


def _silent(count: int) -> None:
    pass


def _threads(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise ValueError(f"weights: {threads} threads, expected 1 or more")
    return threads or os.cpu_count() or 1


def _is_made(source: SafetensorsFile, target: Path, options: Options) -> bool:
    """Whether `target` is what would be made: of the same bytes, mode and base."""
    if not target.is_file() or target.stat().st_size == 0:
        return False
    try:
        made = WeightFile(target, base=options.base.path if options.base else None)
    except IsthmusError:
        return False
    same = made.source["mode"] == options.mode and made.source["bytes"] == len(source.bytes)
    same = same and bool(made.source["base"]) == bool(options.base) and made.source["index"] == options.index
    return bool(same and made.source["sha256"] == sha256_of(source.bytes))


def shards(src: Path) -> list[Path]:
    """The safetensors files that `src` is or holds."""
    found = sorted(p for p in src.rglob("*" + SHARD) if p.is_file()) if src.is_dir() else [src]
    if not found:
        raise UnreadableFileError(f"{src}: the folder has no {SHARD} files")
    return found


def _check_sources(found: list[Path]) -> None:
    for shard in found:
        check_source(SafetensorsFile(shard))


def _check_made(found: list[Path]) -> None:
    for shard in found:  # first, as a checkpoint of that layout also has files without compressed weights
        refuse_upstream(SafetensorsFile(shard))
    for shard in found:
        WeightFile(shard)


def _each(src: Path, dst: Path, check: Callable[[list[Path]], None], one: Callable[[Path, Path], Done]) -> list[Done]:
    """`one` for each shard, after `check` of all, of a folder's index, and copies of its other files."""
    found = shards(src)
    if not src.is_dir():
        if dst.exists() and dst.samefile(src):
            raise UnwritableFileError(f"{dst}: is the source itself; choose another name")
        check(found)
        remove_leftovers(dst)
        return [one(src, dst)]
    if dst.resolve() == src.resolve() or src.resolve() in dst.resolve().parents:
        raise UnwritableFileError(f"{dst}: lies in the source folder; choose a folder outside of it")
    for index in src.rglob("*.safetensors.index.json"):
        _check_index(index)
    check(found)
    make_folder(dst)
    for path in _files(src):
        target = dst / path.relative_to(src)
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        if path not in found:
            with path.open("rb") as source, atomic_file(target) as out:
                shutil.copyfileobj(source, out)
    return [one(shard, dst / shard.relative_to(src)) for shard in found]


def _files(src: Path) -> Iterator[Path]:
    """Files of a folder but those of hidden folders, which are version control's."""
    for path in sorted(src.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(src).parts[:-1])
        if path.is_file() and not hidden:
            yield path


def _check_index(index: Path) -> None:
    """Raises CorruptStreamError for an index that names shards which are not there."""
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(name for name in named if not (index.parent / name).is_file())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptStreamError(f"{index}: no index with a weight_map: {error}") from None
    if missing:
        raise CorruptStreamError(f"{index}: shard {missing[0]} is not there; fetch it first")
