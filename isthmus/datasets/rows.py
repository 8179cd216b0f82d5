# SPDX-License-Identifier: Apache-2.0
"""Items to the rows of a shard, those that cannot be read to its losses."""

import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from isthmus.codecs.base import Codec, Latent
from isthmus.datasets.settings import Settings
from isthmus.datasets.shards import of_format
from isthmus.datasets.shards.info import PlaneSums, ShardInfo
from isthmus.datasets.sources import Item, Source
from isthmus.datasets.views import views_of
from isthmus.errors import IsthmusError, UnreadableFileError
from isthmus.media import kinds
from isthmus.signals import AudioSignal, ImageSignal

GROUP = 64  # samples that are packed at once
READ = 16  # images that are read before they are analysed: a tenth faster than one after another, as caches stay warm
NUMBERS = 1 << 24  # of latents that wait for that
PIXELS = 1 << 26  # bytes of images that wait to be analysed
WHOLE = 1 << 24  # samples of a sound beyond which it is encoded block by block
FACTS = {"image": {"height": "int32", "width": "int32"}, "audio": {"samples": "int64", "sample_rate": "int32"}}


class RowBuilder:
    """Rows of a shard as they come."""

    def __init__(
        self, source: Source, settings: Settings, codec: Codec, info: ShardInfo, classes: list[str] | None = None
    ) -> None:
        self.source, self.settings, self.codec, self.info = source, settings, codec, info
        self.rows: list[dict[str, Any]] = []
        self.warned: list[str] = []
        self._waiting: list[tuple[int, Latent]] = []  # row and latent
        self._images: list[tuple[int, Any]] = []  # row and pixels
        self._numbers, self._pixels, self._options = 0, 0, dict[str, Any]()
        self._numbers_of = {name: number for number, name in enumerate(classes or ())}

    def lose(self, item: Item, why: str) -> None:
        self.info.lost.append((item.key, why))

    def add(self, item: Item) -> None:
        """Whatever an item is: rows, or a loss with its reason."""
        if item.broken:
            self.lose(item, item.broken)
            return
        before = len(self.rows), len(self._waiting), len(self._images)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self._encode(item)
            self.warned += [
                f"{item.key}: {w.message}" for w in caught if not issubclass(w.category, DeprecationWarning)
            ]
        except Exception as error:  # readers raise nearly any class for damaged files; the rest goes on
            del self.rows[before[0] :], self._waiting[before[1] :], self._images[before[2] :]
            told = str(error) if isinstance(error, (IsthmusError, ValueError)) else f"{type(error).__name__}: {error}"
            self.lose(item, " ".join(told.split()).removeprefix(f"{item.key}: "))
        if self._pixels > PIXELS or (len(self._images) >= READ and not self.codec.takes_lists):
            self._analyze()
        if len(self._waiting) >= GROUP or self._numbers > NUMBERS:
            self.flush()

    def _encode(self, item: Item) -> None:
        options = dict(self.settings.options)
        with self.source.find(item).on_disk() as path:
            size = path.stat().st_size
            try:
                if self.codec.in_blocks:
                    self._encode_sound(item, path, options)
                else:
                    samples, facts = kinds.read(path, self.codec.kind, options)
                    for view, image in views_of(samples, self.settings, item.key):
                        self._row(item, ImageSignal(*image.shape[:2]), view)
                        self._wait_for_others(image, {**facts, **options})
            except IsthmusError as error:
                raise type(error)(str(error).replace(str(path), item.key)) from error  # wherever the source lies
        self.info.bytes_in += size

    def _encode_sound(self, item: Item, path: Path, options: dict[str, Any]) -> None:
        """Short sounds at once, longer ones block by block: there is no limit to their length."""
        from isthmus.media.audio import open_sound

        sound = open_sound(path)
        if sound.samples == 0:
            raise UnreadableFileError(f"{path}: no samples")
        if sound.samples is not None and sound.samples * sound.channels <= WHOLE:
            samples, facts = kinds.read(path, self.codec.kind, options)
            latent = self.codec.analyze(samples, **facts, **options)
            self._row(item, latent.spec.header.signal)
            self._wait(len(self.rows) - 1, latent)
            return
        made, codec = BytesIO(), self.codec
        count, scale = codec.first_look(sound.blocks())  # type: ignore[attr-defined]
        codec.write(  # type: ignore[attr-defined]
            open_sound(path).blocks(), made, samples=count, scale=scale, sample_rate=sound.sample_rate, **options
        )
        self._row(item, AudioSignal(sound.sample_rate, sound.channels, count))
        self.rows[-1]["payload"] = made.getvalue()
        sums = dict(self.info.planes)
        frames: dict[str, int] = {}
        for latent in codec.open(made.getvalue()):
            for name, plane in latent.planes.items():
                sums[name] = PlaneSums.of(plane[None].numpy()).merged(sums.get(name))
                frames[name] = frames.get(name, 0) + plane.shape[-1]
        for name, length in frames.items():  # units have shapes of their own, which are not that of the whole
            whole, before = sums[name], self.info.planes.get(name)
            shape = [whole.channels, length]
            whole.shape = shape if before is None or before.shape == shape else None
        self.info.planes = sums

    def _row(self, item: Item, signal: Any, view: str = "") -> None:
        row: dict[str, Any] = {**item.columns, "key": item.key, "view": view, "label": self._label(item)}
        if isinstance(signal, ImageSignal):
            row |= {"height": signal.height, "width": signal.width}
        elif isinstance(signal, AudioSignal):
            row |= {"samples": signal.samples, "sample_rate": signal.sample_rate}
        self.rows.append(row)

    def _label(self, item: Item) -> int | None:
        if isinstance(item.label, str):
            return self._numbers_of[item.label]
        if item.label is not None and not -(1 << 63) <= item.label < 1 << 63:
            raise ValueError(f"label {item.label}; expected a number of 64 bits")
        return item.label

    def _wait(self, row: int, latent: Latent) -> None:
        self._waiting.append((row, latent))
        self._numbers += sum(plane.numel() for plane in latent.planes.values())

    def _wait_for_others(self, image: Any, options: dict[str, Any]) -> None:
        """options: of `analyze`, the same for all."""
        self._images.append((len(self.rows) - 1, image))
        self._pixels += image.size
        self._options = options

    def _analyze(self) -> None:
        """The images that wait for that, to latents that wait to be packed, or, many at once, to payloads."""
        shapes: dict[Any, list[tuple[int, Any]]] = {}
        for row, image in self._images:
            shapes.setdefault(image.shape, []).append((row, image))
        for same in shapes.values():
            if not self.codec.takes_lists:
                for row, image in same:
                    self._wait(row, self.codec.analyze(image, **self._options))
                continue
            batch = self.codec.analyze([image for _, image in same], **self._options)
            for (row, _), payload in zip(same, self.codec.pack_batch(batch.latents), strict=True):
                self.rows[row]["payload"] = payload
            self._sum_up({name: plane.cpu().numpy() for name, plane in batch.planes.items()})
        self._images, self._pixels = [], 0

    def flush(self) -> None:
        """Analyses and packs what waits for that."""
        self._analyze()
        if not self._waiting:
            return
        for (row, _), payload in zip(
            self._waiting, self.codec.pack_batch([latent for _, latent in self._waiting]), strict=True
        ):
            self.rows[row]["payload"] = payload
        for planes in _alike([latent for _, latent in self._waiting]):
            self._sum_up(planes)
        self._waiting, self._numbers = [], 0

    def _sum_up(self, planes: dict[str, Any]) -> None:
        """planes: numpy, of latents of one shape, stacked."""
        for name, stacked in planes.items():
            self.info.planes[name] = PlaneSums.of(stacked).merged(self.info.planes.get(name))

    def finish(self, columns: dict[str, str]) -> BytesIO:
        """The shard as a file; what it says of itself is in `info` then."""
        self.flush()
        self.info.count, self.info.bytes_out = len(self.rows), sum(len(row["payload"]) for row in self.rows)
        return of_format(self.settings.format).write(self.rows, columns, self.info)


def _alike(latents: list[Latent]) -> Iterator[dict[str, Any]]:
    """Planes of latents of one shape, stacked."""
    groups: dict[Any, list[Latent]] = {}
    for latent in latents:
        groups.setdefault(tuple(plane.shape for plane in latent.planes.values()), []).append(latent)
    for group in groups.values():
        yield {name: torch.stack([latent.planes[name] for latent in group]).numpy() for name in group[0].planes}
