# SPDX-License-Identifier: Apache-2.0
"""`compress`, `decompress` and `verify`: a safetensors file, or a Hugging Face folder with shards and other files."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from isthmus.codecs.dfloat.coding import MODES, Mode
from isthmus.errors import CorruptStreamError
from isthmus.files import atomic_file, remove_leftovers
from isthmus.weights.base_checkpoint import BaseCheckpoint
from isthmus.weights.compression import Progress
from isthmus.weights.compression_options import Options, check_patterns
from isthmus.weights.decompression import restore
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.config import restore_config
from isthmus.weights.folders.copies import copy_file, copy_others
from isthmus.weights.folders.done import Done, Told
from isthmus.weights.folders.existing import Originals, check_existing, check_existing_indexes
from isthmus.weights.folders.index import check_all_packed, check_indexes
from isthmus.weights.folders.names import packed_name, plain_name
from isthmus.weights.folders.placement import Placement, place, place_within, without_twins
from isthmus.weights.folders.removal import check_pairs, check_removable, earlier_shards, twin_folders
from isthmus.weights.folders.shards import open_packed, open_shards, plain_bytes
from isthmus.weights.folders.transformers_folder import mark_folders
from isthmus.weights.folders.tree import read_tree, require_shards
from isthmus.weights.shard_compression import ShardCompression

PathLike = str | os.PathLike[str]


def compress(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    mode: Mode | None = None,
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

    mode: "huffman", the default, decodes fastest; "rans" is about 0.3 % smaller, and far smaller for deltas, for which
    it is the default. threads: all cores when None. base: a checkpoint
    (file or folder) that tensors of the same name, dtype and shape are stored relative to, where that is smaller; it is
    needed again to decompress. index: store where each 64 weights begin (0.8 %), which is otherwise found when a GPU
    loads the file. include, exclude: patterns such as "*.embed_tokens.*" of names of tensors; only those that match one
    of the former and none of the latter are coded. in_place, without `dst`: each shard is written beside its source,
    read back, compared with the source's SHA-256, and the source removed. delete_source: the same with a `dst`.
    progress: called with numbers of bytes as they are done; `total_bytes` says how many there will be. told: called
    with every file as it is finished, ones that are no shards too; with a config again when it is made to name the
    compressed weights.

    Each file is written whole or not at all; no source is ever written to. Run again after an interruption, it goes on
    at the first shard that is missing or not whole. A file in the target is replaced only by what was made of the same
    original, or, where `dst` is a file, if it is a compressed one and the source stays.

    Raises ValueError for wrong arguments, UnreadableFileError, CorruptStreamError and UnwritableFileError.
    """
    mode = mode or default_mode(base)
    if mode not in MODES:
        raise ValueError(f"compress: mode {mode!r}, expected 'huffman' or 'rans'")
    if in_place != (dst is None):
        raise ValueError("compress: expected a target, or in_place without a target")
    if in_place and delete_source:
        raise ValueError("compress: in_place replaces the source and delete_source is for another target; give one")
    checkpoint = None if base is None else BaseCheckpoint(Path(base))
    options = Options(mode, thread_count(threads), index, checkpoint, tuple(include), tuple(exclude))
    tree, removes, originals = read_tree(Path(src)), in_place or delete_source, Originals()
    earlier = earlier_shards(Path(dst), tree) if dst is not None and delete_source and tree.is_folder else ()
    found = open_shards(tree if earlier else require_shards(tree))
    if removes:
        check_removable(Path(src), tree, options)
    if not found.plain and not (removes and tree.is_folder):
        raise CorruptStreamError(f"{src}: is compressed already")
    placed = place_within(tree, packed_name) if dst is None else place(tree, dst, packed_name)
    check_indexes(tree.others, twin_folders(tree, placed.root) if delete_source else {})
    check_patterns(found.tree.shards if not removes else (), options)
    made = {*placed.shards.values(), *earlier}
    if in_place:
        check_pairs(placed, originals)
    else:
        check_existing(placed, originals, replaces=not placed.creates and not removes)
        if tree.is_folder:
            check_existing_indexes(placed, made)
    told = told or _silent
    copy_others(placed, told)
    shards = ShardCompression(found, options, originals, progress or _silent, removes)
    done = _each(placed, shards.run, told)
    for config in mark_folders(made) if tree.is_folder else ():
        size = config.stat().st_size
        told(Done(tree.root / config.relative_to(placed.root), config, len(restore_config(config.read_bytes())), size))
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

    Plain files of weights in a folder are copied. A file in the target is kept where it is the original, and nothing is
    replaced by anything else. Raises as `compress`, and WeightsMismatchError for a delta without
    its base.
    """
    report, found, originals = progress or _silent, open_packed(Path(src)), Originals()

    def one(source: Path, target: Path) -> Done:
        size = source.stat().st_size
        if source not in found.packed:
            copy_file(source, target)
            report(plain_bytes(source))
            return Done(source, target, size, size, copied=True)
        file = WeightFile(source, base=None if base is None else Path(base))
        skipped = originals.is_plain(target, file.source["sha256"])
        if skipped:
            report(plain_bytes(source))
        else:
            with atomic_file(target, follow=False, like=source) as out:
                restore(file, lambda part: out.write(part.data), threads=thread_count(threads), progress=report)
        return Done(source, target, size, target.stat().st_size, skipped)

    placed = place(found.tree, dst, lambda path: plain_name(path) if path in found.packed else path)
    check_indexes(found.tree.others, {})
    check_existing(placed, originals)
    copy_others(placed, told or _silent, restores=True)
    return _each(placed, one, told or _silent)


def verify(
    src: PathLike, *, threads: int | None = None, base: PathLike | None = None, progress: Progress | None = None
) -> list[Path]:
    """Decodes a compressed file, or each one in a folder, and compares with the SHA-256 of its original.

    Returns these files; `plain_shards` are the folder's others. Raises CorruptStreamError naming the first tensor that
    is damaged, for an index that names what is not there or is compressed in part, and as `decompress`.
    """
    found = open_packed(Path(src))
    check_indexes(found.tree.others, {})
    check_all_packed(found.tree.others, found.packed)
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
    return sum(plain_bytes(shard) for shard in without_twins(read_tree(Path(src)).shards))


def _silent(what: object) -> None:
    pass


def default_mode(base: PathLike | None) -> Mode:
    """The mode where none is asked for: most bytes of a delta are zeros, on which only rans spends less than a bit."""
    return "huffman" if base is None else "rans"


def thread_count(threads: int | None) -> int:
    """Threads to use: all cores when None. Raises ValueError for less than one."""
    if threads is not None and threads < 1:
        raise ValueError(f"weights: {threads} threads, expected 1 or more")
    return threads or os.cpu_count() or 1


def _each(placed: Placement, one: Callable[[Path, Path], Done], told: Told) -> list[Done]:
    done = []
    for source, target in placed.shards.items():
        remove_leftovers(target, follow=False)
        done.append(one(source, target))
        told(done[-1])
    return done
