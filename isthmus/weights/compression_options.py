# SPDX-License-Identifier: Apache-2.0
"""How to compress, and whether a file was made so."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.dtypes import CODED
from isthmus.weights.base_checkpoint import BaseCheckpoint
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.safetensors_file import SafetensorsFile, StoredTensor


@dataclass(frozen=True)
class Options:
    """How to compress. mode: "huffman" or "rans". index: store where a GPU may begin. base: makes deltas from it.

    include, exclude: patterns of the names of tensors that alone are coded, and of ones that are not.
    """

    mode: coding.Mode = "huffman"
    threads: int = 1
    index: bool = False
    base: BaseCheckpoint | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def codes(self, t: StoredTensor) -> bool:
        """Whether a tensor is to be coded, if that makes it smaller."""
        wanted = not self.include or any(fnmatchcase(t.name, pattern) for pattern in self.include)
        return t.dtype in CODED and wanted and not any(fnmatchcase(t.name, pattern) for pattern in self.exclude)

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """`include` and `exclude`, as the mark says them."""
        return {"include": self.include, "exclude": self.exclude}

    def made(self, file: WeightFile) -> bool:
        """Whether a compressed file was made with these, of whatever weights."""
        told = file.source
        same = (told["mode"], told["index"], bool(told["base"])) == (self.mode, self.index, bool(self.base))
        return same and all(told[key] == list(found) for key, found in self.patterns.items())


def check_patterns(shards: Sequence[Path], options: Options) -> None:
    """Raises ValueError for a pattern that no tensor of the shards has a name for, if there are any."""
    asked = {pattern for patterns in options.patterns.values() for pattern in patterns}
    if not asked or not shards:
        return
    names = {tensor.name for shard in shards for tensor in SafetensorsFile(shard).header.tensors}
    for pattern in sorted(asked):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"compress: no tensor's name matches {pattern!r}, such as {min(names, default='')!r}")
