# SPDX-License-Identifier: Apache-2.0
"""One shard of a source to its compressed form: made, found whole from an earlier run, or copied."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isthmus.codecs.dfloat.dtypes import CODED
from isthmus.errors import IsthmusError
from isthmus.weights.compression import compress_file
from isthmus.weights.compression_options import Options
from isthmus.weights.decompression import restore
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.folders.copies import copy_file
from isthmus.weights.folders.done import Done
from isthmus.weights.folders.existing import Originals
from isthmus.weights.folders.removal import replace_source
from isthmus.weights.folders.shards import Shards, plain_bytes
from isthmus.weights.safetensors_file import SafetensorsFile


@dataclass(frozen=True)
class ShardCompression:
    """found: the shards of the source. removes: sources go once their compressed form is verified."""

    found: Shards
    options: Options
    originals: Originals
    progress: Callable[[int], None]
    removes: bool

    def run(self, source: Path, target: Path) -> Done:
        """Raises CorruptStreamError, UnwritableFileError and, for a delta, WeightsMismatchError."""
        if source in self.found.packed:
            return self._packed(source, target)
        try:
            return self._plain(source, target)
        except (IsthmusError, OSError):
            if self.removes and not source.exists() and target.is_file():  # by another run of the same command
                return self._packed(target, target)
            raise

    def _plain(self, source: Path, target: Path) -> Done:
        file = SafetensorsFile(source)
        skipped = self._is_made(file, target)
        if skipped:
            self.progress(file.header.data_bytes)
        else:
            compress_file(file, target, self.options, self.progress, durable=self.removes)
        kept = Counter(t.dtype for t in file.header.tensors if t.dtype not in CODED)
        done = Done(source, target, len(file.bytes), target.stat().st_size, skipped, dict(kept))
        if self.removes:
            replace_source(source, target, self.options, is_verified=skipped)
        return done

    def _packed(self, source: Path, target: Path) -> Done:
        if target == source:
            self._check(WeightFile(source, base=self._base))
        else:
            copy_file(source, target, durable=self.removes)
            if self.removes:
                replace_source(source, target, self.options)
        self.progress(plain_bytes(target))
        size = WeightFile(target).source["bytes"]
        return Done(source, target, size, target.stat().st_size, copied=True)

    def _is_made(self, source: SafetensorsFile, target: Path) -> bool:
        """Whether `target` is what would be made, of the same bytes and with the same options, and is whole."""
        if target.is_symlink() or not target.is_file() or target.stat().st_size == 0:
            return False
        try:
            made = WeightFile(target, base=self._base)
            if self.options.made(made) and made.source["sha256"] == self.originals.sha256(source.path):
                self._check(made)
                return True
        except IsthmusError:
            pass  # damaged, or something else: it is made again
        return False

    @property
    def _base(self) -> Path | None:
        return self.options.base.path if self.options.base else None

    def _check(self, file: WeightFile) -> None:
        restore(file, lambda data: None, threads=self.options.threads, progress=lambda count: None)
