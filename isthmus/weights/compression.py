# SPDX-License-Identifier: Apache-2.0
"""One safetensors file to a compressed one, tensor by tensor; memory does not grow with the file."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from isthmus.arrays.types import Bytes
from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.dtypes import CODED, ITEM_BYTES, UINT
from isthmus.codecs.dfloat.encoder import Encoder
from isthmus.errors import CorruptStreamError
from isthmus.files import atomic_file
from isthmus.kernels import threads as pool
from isthmus.weights.base_checkpoint import PIECE
from isthmus.weights.compression_options import Options
from isthmus.weights.dfloat_file import SUFFIX, refuse_upstream
from isthmus.weights.folders.names import MARK
from isthmus.weights.inserted_mark import insert_mark
from isthmus.weights.mark import FORMAT, HEADER
from isthmus.weights.raw_checks import DIGITS, checks_of, most_runs
from isthmus.weights.safetensors_file import SafetensorsFile, StoredTensor
from isthmus.weights.safetensors_writer import SafetensorsWriter

GROUP_BYTES = 1 << 25  # of small tensors, coded at a time; a larger one is written in parts of about this size
PART = 64  # runs of such a part
LARGEST = 1.005  # times the source; what would be larger is stored as it was
PLANNING = 0.4  # of the time that a large tensor takes, about; so much of it is hashed meanwhile

Progress = Callable[[int], None]
Result = TypeVar("Result")


def check_source(source: SafetensorsFile) -> None:
    """Raises CorruptStreamError for a file that is compressed already, by us or in the published layout."""
    if MARK in source.header.metadata or HEADER in source.tensors:
        raise CorruptStreamError(f"{source.path}: is compressed already (metadata entry {MARK!r})")
    refuse_upstream(source)


def compress_file(
    source: SafetensorsFile, target: Path, options: Options, progress: Progress, *, durable: bool = False
) -> None:
    """Writes `target`, whole or not at all. progress: told of bytes of the source as they are done.

    A link at `target` is replaced. durable: the file is on the disk before it is there.

    Raises CorruptStreamError for a file that is compressed already, UnwritableFileError.
    """
    check_source(source)
    with atomic_file(target, follow=False, durable=durable, like=source.path) as file:
        _Compression(source, file, options, progress).run()


def _json(mark: dict[str, Any]) -> str:
    return json.dumps(mark, separators=(",", ":"))


class _Compression:
    def __init__(self, source: SafetensorsFile, file: Any, options: Options, progress: Progress) -> None:
        self._source, self._options, self._progress = source, options, progress
        self._digest, self._hashed = hashlib.sha256(), 0
        self._delta: dict[str, str] = {}
        self._raw: list[StoredTensor] = []
        self._due: list[tuple[int, Bytes | bytes]] = []  # places in the target, and bytes that are to be written there
        self._header = zlib.compress(source.header_bytes, 9)
        self._file, self._writer = file, SafetensorsWriter(file, self._room())

    def _room(self) -> int:
        """Bytes that the header may need: every tensor coded, and every one a delta."""
        longest: list[tuple[str, str, tuple[int, ...]]] = [(HEADER, "U8", (len(self._header),))]
        for t in self._source.header.tensors:
            longest.append((t.name + SUFFIX, t.dtype + "U8", (*t.shape, 10**16 - 1)))
        base = self._options.base
        holders = {t.name: base.holder(t) or "" for t in self._source.header.tensors} if base else {}
        mark = self._mark(holders, dict.fromkeys(holders.values(), "0" * 64), "0" * 64)
        mark["checks"] = "0" * DIGITS * (1 + most_runs(self._source.header.tensors))
        return SafetensorsWriter.room_for(longest, {**self._source.header.metadata, MARK: _json(mark)})

    def _mark(self, delta: dict[str, str], base: dict[str, str], sha256: str) -> dict[str, Any]:
        mark: dict[str, Any] = {
            "format": FORMAT, "mode": self._options.mode, "header_bytes": len(self._source.header_bytes),
            "bytes": len(self._source.bytes), "sha256": sha256,
        }  # fmt: skip
        if self._options.index:
            mark["index"] = True
        mark |= {key: list(found) for key, found in self._options.patterns.items() if found}
        if delta:
            mark |= {"base": base, "delta": delta}
        return mark

    def run(self) -> None:
        for group in self._groups():
            self._code_group(group)
        for t in sorted(self._raw, key=lambda t: -ITEM_BYTES.get(t.dtype, 8)):  # the widest first: all stay aligned
            self._writer.add(t.name, t.dtype, t.shape, self._put(0, self._source.data(t.name)))
        self._writer.add(HEADER, "U8", (len(self._header),), self._put(0, self._header))
        self._do([], len(self._source.bytes))
        base = self._options.base
        delta = {t.name: self._delta[t.name] for t in self._source.header.tensors if t.name in self._delta}
        hashes = {name: base.sha256(name) for name in sorted(set(delta.values()))} if base else {}
        mark = self._mark(delta, hashes, self._digest.hexdigest()) | self._checks(self._raw)
        size = self._writer.finish({**self._source.header.metadata, MARK: _json(mark)})
        if size > LARGEST * len(self._source.bytes):
            mark = self._mark({}, {}, self._digest.hexdigest())
            self._write_as_it_was(mark | self._checks(self._source.header.tensors))

    def _checks(self, raw: Iterable[StoredTensor]) -> dict[str, str]:
        return {"checks": checks_of(self._source.header_bytes, raw, self._source.data)}

    def _write_as_it_was(self, mark: dict[str, Any]) -> None:
        """Replaces all that was written by the source, marked; unless that is impossible."""
        header = insert_mark(self._source.header_bytes, mark)
        if header is not None:
            self._file.seek(0)
            self._file.write(len(header).to_bytes(8, "little") + header)
            data = self._source.bytes[8 + len(self._source.header_bytes) :]
            for begin in range(0, len(data), PIECE):
                self._file.write(data[begin : begin + PIECE].data)
            self._file.truncate()

    def _groups(self) -> Iterator[list[StoredTensor]]:
        """Tensors in order, as many as fit GROUP_BYTES, or a larger one by itself."""
        group: list[StoredTensor] = []
        for t in self._source.header.tensors:
            if group and t.end - group[0].begin > GROUP_BYTES:
                yield group
                group = []
            group.append(t)
        if group:
            yield group

    def _code_group(self, group: list[StoredTensor]) -> None:
        data = len(self._source.bytes) - self._source.header.data_bytes
        begin, end = data + group[0].begin, data + group[-1].end
        large = end - begin > GROUP_BYTES
        planned = int(begin + PLANNING * (end - begin)) if large else end
        for t, found in zip(group, self._do([partial(self._code, t, not large) for t in group], planned), strict=True):
            if found is None:
                self._raw.append(t)
            else:
                size = self._code_parts(found, planned, end) if isinstance(found, Encoder) else self._put(0, found)
                self._writer.add(t.name + SUFFIX, "U8", (size,), size)
            self._progress(t.end - t.begin)

    def _do(self, jobs: list[Callable[[], Result]], end: int) -> list[Result]:
        """Results of jobs done on threads, while the digest goes on up to byte `end` and what was put is written.

        The digest must take bytes in order, and a file has one place: each is one piece of work.
        """
        due, self._due = self._due, []
        work: list[Callable[[], Any]] = [partial(self._hash, end), partial(self._write, due), *jobs]
        return pool.run(lambda job: job(), work, self._options.threads)[2:]

    def _put(self, place: int, data: Bytes | bytes) -> int:
        """Has bytes written at a place of the next tensor; how many."""
        self._due.append((self._writer.at + place, data))
        return len(data)

    def _write(self, due: list[tuple[int, Bytes | bytes]]) -> None:
        for place, data in due:
            self._writer.write_at(place, data)

    def _hash(self, end: int) -> None:
        """Takes the digest of the source up to byte `end`."""
        for begin in range(self._hashed, end, PIECE):
            self._digest.update(self._source.bytes[begin : min(end, begin + PIECE)].data)
        self._hashed = max(self._hashed, end)

    def _code(self, t: StoredTensor, whole: bool) -> Encoder | Bytes | None:
        """A tensor's payload if `whole`, or its plan; None where it stays as it is."""
        if not self._options.codes(t) or t.name + SUFFIX in self._source.tensors or t.end == t.begin:
            return None
        o = self._options
        bits = self._source.data(t.name).view(UINT[CODED[t.dtype]])
        best = coding.plan(bits, mode=o.mode, threads=o.threads, index=o.index)
        holder = o.base.holder(t) if o.base else None
        if o.base and holder:
            base = o.base.data(holder, t.name).view(bits.dtype)
            delta = coding.plan(bits, mode=o.mode, threads=o.threads, index=o.index, base=base)
            if delta.length < best.length:
                best = delta
                self._delta[t.name] = holder
        if best.length >= t.end - t.begin:
            self._delta.pop(t.name, None)
            return None
        return coding.write(best, o.threads) if whole else best

    def _code_parts(self, encoder: Encoder, begin: int, end: int) -> int:
        """Codes a payload PART runs at a time, while the digest goes from byte `begin` of the source to `end`."""
        for first in range(0, encoder.runs, PART):
            runs = range(first, min(encoder.runs, first + PART))
            spans = encoder.spans(runs)
            buffers = [np.empty(stop - start, np.uint8) for start, stop in spans]

            def work(run: int, spans: Any = spans, buffers: Any = buffers) -> None:
                targets = []
                for buffer, (start, _), (first, last) in zip(
                    buffers, spans, encoder.spans(range(run, run + 1)), strict=True
                ):
                    targets.append(buffer[first - start : last - start])
                encoder.write(run, targets)

            self._do([partial(work, run) for run in runs], begin + (end - begin) * runs.stop // encoder.runs)
            for buffer, (start, _) in zip(buffers, spans, strict=True):
                self._put(start, buffer)
        for place, part in encoder.fixed():
            self._put(place, part)
        return encoder.length
