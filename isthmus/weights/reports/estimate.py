# SPDX-License-Identifier: Apache-2.0
"""What compressing would give, from a sample of a few hundred slices; nothing is written."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.coding import MODES, Mode
from isthmus.codecs.dfloat.dtypes import CODED, UINT
from isthmus.kernels import threads as pool
from isthmus.weights.base_checkpoint import BaseCheckpoint
from isthmus.weights.checkpoints import PathLike, default_mode, thread_count
from isthmus.weights.compression_options import Options, check_patterns
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.index import check_indexes
from isthmus.weights.folders.shards import open_shards
from isthmus.weights.folders.tree import read_tree, require_shards
from isthmus.weights.safetensors_file import SafetensorsFile, StoredTensor

SLICES, SLICE = 300, 1 << 17  # slices over all tensors, and weights in each
DTYPE, ASKED, NO_GAIN, PACKED = "dtype", "asked", "no gain", "compressed already"


@dataclass(frozen=True)
class Estimate:
    """source_bytes: of all shards. target_bytes: about what they would take. sampled_bytes: what was looked at.

    raw: what would stay as it is, tensors and bytes by the reason: a dtype such as "I64", which is never coded;
    "asked", by include and exclude; "no gain", in the sample; "compressed already", of whole files.
    """

    source_bytes: int
    target_bytes: int
    sampled_bytes: int
    raw: dict[str, tuple[int, int]]


def estimate(
    src: PathLike,
    *,
    mode: Mode | None = None,
    threads: int | None = None,
    base: PathLike | None = None,
    index: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Estimate:
    """What `compress` with these arguments would give. Reads some 100 MB, evenly spread. Raises as `compress`."""
    mode = mode or default_mode(base)
    if mode not in MODES:
        raise ValueError(f"estimate: mode {mode!r}, expected 'huffman' or 'rans'")
    checkpoint = None if base is None else BaseCheckpoint(Path(base))
    options = Options(mode, thread_count(threads), index, checkpoint, tuple(include), tuple(exclude))
    found = open_shards(require_shards(read_tree(Path(src))))
    check_indexes(found.tree.others, {})
    check_patterns(found.tree.shards, options)
    tensors, raw, size = Counter[str](), Counter[str](), 0
    coded: list[tuple[SafetensorsFile, StoredTensor]] = []
    for path in found.tree.shards:
        file = SafetensorsFile(path)
        size += len(file.bytes)
        if path in found.packed:
            tensors[PACKED] += len(WeightFile(path).original)
            raw[PACKED] += len(file.bytes)
            continue
        for t in file.header.tensors:
            if options.codes(t):
                coded.append((file, t))
            else:
                reason = ASKED if t.dtype in CODED else t.dtype
                tensors[reason] += 1
                raw[reason] += t.end - t.begin
    samples = _samples(coded)
    lengths = pool.run(lambda job: job(), [partial(_measure, *s, options) for s in samples], options.threads)
    looked, made, saved = Counter[str](), Counter[str](), 0.0  # the first two by dtype
    gains: dict[tuple[str, Path], bool] = {}
    for (file, t, begin, end), length in zip(samples, lengths, strict=True):
        looked[t.dtype] += end - begin
        made[t.dtype] += min(length, end - begin)
        gains[t.name, file.path] = gains.get((t.name, file.path), False) or length < end - begin
    for file, t in coded:
        if looked[t.dtype]:
            saved += (t.end - t.begin) * (1 - made[t.dtype] / looked[t.dtype])
        if not gains.get((t.name, file.path), True):
            tensors[NO_GAIN] += 1
            raw[NO_GAIN] += t.end - t.begin
    return Estimate(size, round(size - saved), sum(looked.values()), {r: (tensors[r], raw[r]) for r in tensors})


def _samples(coded: list[tuple[SafetensorsFile, StoredTensor]]) -> list[tuple[SafetensorsFile, StoredTensor, int, int]]:
    """Slices of tensors, from byte to byte, at even distances over all; whole tensors where they are small."""
    total = sum(t.end - t.begin for _, t in coded)
    step = max(1, total // SLICES)
    found, at, due = [], 0, step // 2
    for file, t in coded:
        size = t.end - t.begin
        width = CODED[t.dtype]
        behind = -1
        while due < at + size:
            begin = max(0, min(due - at, size - SLICE * width)) // width * width
            if begin > behind:  # slices of a small checkpoint would overlap
                behind = min(size, begin + SLICE * width)
                found.append((file, t, begin, behind))
                behind -= 1
            due += step
        at += size
    return found


def _measure(file: SafetensorsFile, t: StoredTensor, begin: int, end: int, options: Options) -> int:
    """Bytes of the payload of a slice, or of its delta if that is shorter."""
    bits = file.data(t.name)[begin:end].view(UINT[CODED[t.dtype]])
    plan = partial(coding.plan, bits, mode=options.mode, index=options.index)
    holder = options.base.holder(t) if options.base else None
    if not options.base or not holder:
        return plan().length
    return min(plan().length, plan(base=options.base.data(holder, t.name)[begin:end].view(bits.dtype)).length)
