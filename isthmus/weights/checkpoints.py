# SPDX-License-Identifier: Apache-2.0
"""`compress`, `decompress` and `verify`: a safetensors file, or a Hugging Face folder with shards and other files."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from isthmus.codecs.dfloat.coding import MODES, Mode
from isthmus.codecs.dfloat.dtypes import CODED
from isthmus.errors import CorruptStreamError, UnwritableFileError
from isthmus.files import atomic_file, remove_leftovers
from isthmus.weights.base_checkpoint import BaseCheckpoint
from isthmus.weights.compression import Progress, compress_file
from isthmus.weights.compression_options import Options, check_patterns, is_made
from isthmus.weights.decompression import restore
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.config import restore_config
from isthmus.weights.folders.copies import copy_file, copy_others
from isthmus.weights.folders.done import Done, Told
from isthmus.weights.folders.index import INDEXED, check_indexes, read_index
from isthmus.weights.folders.names import PACKED, packed_name, plain_name
from isthmus.weights.folders.placement import Placement, place, place_within
from isthmus.weights.folders.removal import check_removable, replace_source
from isthmus.weights.folders.shards import Shards, open_packed, open_shards, original_sha256, plain_bytes
from isthmus.weights.folders.transformers_folder import mark_folders
from isthmus.weights.folders.tree import Tree, read_tree, require_shards
from isthmus.weights.safetensors_file import SafetensorsFile

PathLike = str | os.PathLike[str]


def compress(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    mode: Mode = "huffman",
    threads: int | None = None,
    base: PathLike | None = None,
    index: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    in_place: bool = False,
    delete_source: bool = False,
    progress: Progress | None = None,
    told: Told | None = None,
) -> list[Done]:
    """Compresses a safetensors file, or every one in a folder (`X.safetensors` to `X.dfloat`), without loss.

    Other files of a folder are copied, shards that are compressed already too, but not what `left_out` names. A file
    goes to the name `dst`, or into the folder `dst`, if that is one or ends in "/". A folder of the Hugging Face cache
    means its snapshot of `main`. Folders of transformers get an index and a config that name the compressed weights.

    mode: "huffman" decodes fastest, "rans" is about 0.3 % smaller. threads: all cores when None. base: a checkpoint
    (file or folder) that tensors of the same name, dtype and shape are stored relative to, where that is smaller; it is
    needed again to decompress. index: store where each 64 weights begin (0.8 %), which is otherwise found when a GPU
    loads the file. include, exclude: patterns such as "*.embed_tokens.*" of names of tensors; only those that match one
    of the former and none of the latter are coded. in_place, without `dst`: each shard is written beside its source,
    read back, compared with the source's SHA-256, and the source removed. delete_source: the same with a `dst`.
    progress: called with numbers of bytes as they are done; `total_bytes` says how many there will be. told: called
    with every file as it is finished, copied ones that are no shards too.

    Each file is written whole or not at all; no source is ever written to. Run again after an interruption, it goes on
    at the first missing shard. Raises ValueError for wrong arguments, UnreadableFileError, CorruptStreamError and
    UnwritableFileError.
    """
    if mode not in MODES:
        raise ValueError(f"compress: mode {mode!r}, expected 'huffman' or 'rans'")
    if in_place != (dst is None):
        raise ValueError("compress: expected a target, or in_place without a target")
    checkpoint = None if base is None else BaseCheckpoint(Path(base))
    options = Options(mode, thread_count(threads), index, checkpoint, tuple(include), tuple(exclude))
    tree, removes = read_tree(Path(src)), in_place or delete_source
    earlier = _earlier(Path(dst), tree) if dst is not None and delete_source and tree.is_folder else ()
    found = open_shards(tree if earlier else require_shards(tree))
    if removes:
        check_removable(Path(src), tree, options)
    if not found.plain and not (removes and tree.is_folder):
        raise CorruptStreamError(f"{src}: is compressed already")
    placed = place_within(tree, packed_name) if dst is None else place(tree, dst, packed_name)
    check_indexes(tree.others, _twins(tree, placed.root) if delete_source else {})
    check_patterns(found.tree.shards if not removes else (), options)
    if in_place:
        _check_pairs(placed)
    copy_others(placed, told or _silent, None)
    done = _each(placed, partial(_compress_one, found, options, progress or _silent, removes), told or _silent)
    if tree.is_folder:
        mark_folders((*placed.shards.values(), *earlier))
    return done


def _compress_one(
    found: Shards, options: Options, progress: Progress, removes: bool, source: Path, target: Path
) -> Done:
    size = source.stat().st_size
    if source in found.packed:
        if target != source:
            copy_file(source, target, durable=removes)
        progress(plain_bytes(source))
        done = Done(source, target, size, size, copied=True)
    else:
        file = SafetensorsFile(source)
        skipped = is_made(target, file, options)
        if skipped:
            progress(file.header.data_bytes)
        else:
            compress_file(file, target, options, progress, durable=removes)
        kept = Counter(t.dtype for t in file.header.tensors if t.dtype not in CODED)
        done = Done(source, target, size, target.stat().st_size, skipped, dict(kept))
    if removes and target != source:
        replace_source(source, target, options)
    return done


def decompress(
    src: PathLike,
    dst: PathLike,
    *,
    threads: int | None = None,
    base: PathLike | None = None,
    progress: Progress | None = None,
    told: Told | None = None,
) -> list[Done]:
    """The inverse of `compress`: files that are the original ones byte for byte, by their SHA-256; whole or not at all.

    Plain files of weights in a folder are copied. Raises as `compress`, and WeightsMismatchError for a delta without
    its base.
    """
    report, found = progress or _silent, open_packed(Path(src))

    def one(source: Path, target: Path) -> Done:
        size = source.stat().st_size
        if source not in found.packed:
            copy_file(source, target)
            report(plain_bytes(source))
            return Done(source, target, size, size, copied=True)
        file = WeightFile(source, base=None if base is None else Path(base))
        with atomic_file(target, follow=False, like=source) as out:
            restore(file, lambda part: out.write(part.data), threads=thread_count(threads), progress=report)
        return Done(source, target, size, target.stat().st_size)

    placed = place(found.tree, dst, lambda path: plain_name(path) if path in found.packed else path)
    check_indexes(found.tree.others, {})
    copy_others(placed, told or _silent, restore_config)
    return _each(placed, one, told or _silent)


def verify(
    src: PathLike, *, threads: int | None = None, base: PathLike | None = None, progress: Progress | None = None
) -> list[Path]:
    """Decodes a compressed file, or each one in a folder, and compares with the SHA-256 of its original.

    Returns these files; `plain_shards` are the folder's others. Raises CorruptStreamError naming the first tensor that
    is damaged, and as `decompress`.
    """
    found = open_packed(Path(src))
    for shard in sorted(found.packed):
        restore(
            WeightFile(shard, base=None if base is None else Path(base)),
            lambda data: None,
            threads=thread_count(threads),
            progress=progress or _silent,
        )
    return sorted(found.packed)


def plain_shards(src: PathLike) -> list[Path]:
    """The files of weights in a folder that are not compressed, such as an adapter added later. Raises as `verify`."""
    return list(open_packed(Path(src)).plain)


def left_out(src: PathLike) -> tuple[Path, ...]:
    """Hidden files and folders of a folder, and pipes and devices, which all commands pass over. Raises as `verify`."""
    return read_tree(Path(src)).left_out


def total_bytes(src: PathLike) -> int:
    """The sum that `progress` will be told: bytes of tensors, decompressed. Raises as `compress`."""
    return sum(plain_bytes(shard) for shard in read_tree(Path(src)).shards)


def _silent(what: object) -> None:
    pass


def thread_count(threads: int | None) -> int:
    """Threads to use: all cores when None. Raises ValueError for less than one."""
    if threads is not None and threads < 1:
        raise ValueError(f"weights: {threads} threads, expected 1 or more")
    return threads or os.cpu_count() or 1


def _earlier(dst: Path, tree: Tree) -> tuple[Path, ...]:
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


def _twins(tree: Tree, root: Path) -> dict[Path, Path]:
    """Folders of the target by those of the source."""
    return {folder: root / folder.relative_to(tree.root) for folder in {path.parent for path in tree.others}}


def _check_pairs(placed: Placement) -> None:
    """Raises UnwritableFileError where the name of a compressed form is taken, by itself or by other weights."""
    for source, target in placed.shards.items():
        if source == target and source.suffix != PACKED:
            raise UnwritableFileError(f"{source}: expected a name that ends in .safetensors, to be compressed in place")
        if source != target and os.path.lexists(target) and original_sha256(source) != original_sha256(target):
            raise UnwritableFileError(f"{target}: holds other weights than {source.name}; move one of them away")


def _each(placed: Placement, one: Callable[[Path, Path], Done], told: Told) -> list[Done]:
    done = []
    for source, target in placed.shards.items():
        remove_leftovers(target, follow=False)
        done.append(one(source, target))
        told(done[-1])
    return done
