# SPDX-License-Identifier: Apache-2.0
"""Samples of a source to a data set of latents; what is done already is not done again."""

import os
import warnings
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from isthmus.arrays.resizing import MOST_PIXELS
from isthmus.codecs.base import Codec
from isthmus.codecs.registry import default_codec, load, shipped
from isthmus.datasets import plan as plans
from isthmus.datasets.engines import open_engine
from isthmus.datasets.finish import done_shards, finish
from isthmus.datasets.latents.reader import TABLES
from isthmus.datasets.listing import Listing
from isthmus.datasets.manifest import NAME as MANIFEST
from isthmus.datasets.manifest import Manifest, codec_there
from isthmus.datasets.plan import Changes, Part
from isthmus.datasets.rows import FACTS
from isthmus.datasets.settings import FORMATS, Settings
from isthmus.datasets.shards.parquet import pyarrow
from isthmus.datasets.sources import Source, open_source
from isthmus.datasets.sources.folder import FolderSource
from isthmus.datasets.storage import Place
from isthmus.datasets.views import parse_views
from isthmus.datasets.watch import Report, Watch
from isthmus.datasets.work import Job
from isthmus.errors import UnwritableFileError
from isthmus.media.kinds import room


def transcode(
    source: Any,
    destination: str | os.PathLike[str],
    *,
    codec: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    views: Sequence[str] = (),
    resize: int | None = None,
    crop: int | None = None,
    format: str = "parquet",
    append: bool = False,
    rebuild: Collection[int] = (),
    checksums: bool = False,
    shard_index: int = 0,
    num_shards: int = 1,
    shard_size: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    **options: Any,
) -> Report:
    """Encodes every sample of a source into a data set of latents, which `LatentDataset` reads.

    source: a folder (folders within it are classes), a CSV or JSONL table of paths, Parquet files or tars of
    WebDataset, by path or URL; or a `datasets.Dataset`. destination: a folder, by path or URL; what an earlier run has
    made there is kept, and what has changed in the source since is made again. codec: a name or a weights file; None:
    that of what is there, else the usual one of the kind.
    engine: "local" processes or "ray" actors, `workers` of them. views: further rows of each image, "hflip", "vflip",
    "crops:4". resize: pixels of the shorter side. crop: of the square in its middle; smaller images are enlarged to it.
    format: of the shards, "parquet" or "tar". append: add a further source. rebuild: shards to make again.
    checksums: see changes by SHA-256 of files, not by size and time. shard_index, num_shards: make only every so many,
    in jobs that share a destination. shard_size: samples of a shard. options: fields of the codec's `Options`.

    Samples that cannot be read are left out, and listed in errors.jsonl. Raises ValueError or TypeError for wrong
    arguments, UnreadableFileError, UnwritableFileError, MissingExtraError.
    """
    if not 0 <= shard_index < num_shards:
        raise ValueError(f"shard_index {shard_index} of num_shards {num_shards}, expected 0 to {num_shards - 1}")
    worked_by = open_engine(engine, workers, device)
    run = Run.of(source, destination, codec, views, resize, crop, format, checksums, device, options)
    run.check_destination(append)
    with Watch(progress) as watch:
        changes = run.plan(append, shard_size, watch)
        shards = plans.read_shards(run.place)
        report, made = Report(run.place.url, len(shards), changes=changes), set[int]()
        unknown = set(rebuild) - {shard.number for shard in shards}
        if unknown:
            raise ValueError(f"rebuild {min(unknown)}: no such shard; there are 0 to {len(shards) - 1}")
        others = {shard.number: shard.source for shard in shards if shard.source != run.source.description}
        for number in sorted(set(rebuild) & others.keys()):
            raise ValueError(f"rebuild {number}: it is made of {others[number]}: give that source")
        run.place.clean("data")
        done = done_shards(run.place, run.settings, shards).keys() - set(rebuild)
        missing = [shard for shard in shards if shard.number not in done and shard.number % num_shards == shard_index]
        todo = [shard for shard in missing if shard.number not in others]  # in this source those are not to be found
        report.elsewhere = [others[shard.number] for shard in missing if shard.number in others]
        watch.begin(sum(shard.items for shard in todo), len(done), len(shards))
        tasks = plans.read_tasks(run.place, {shard.number for shard in todo})
        for answer in worked_by.run(run.job(), tasks):
            if isinstance(answer, tuple):
                report.failed.append((answer[0].shard, answer[1]))
                continue
            made.add(answer.shard)
            report.warnings += len(answer.warned)
            report.warned += answer.warned[: 10 - len(report.warned)]
            watch.done(answer)
    report.made, report.classes, report.note = len(made), run.part.classes, run.source.note
    finish(run.place, run.settings, run.manifest(), shards, report, made)
    for shard, why in report.failed:
        warnings.warn(f"transcode: shard {shard} could not be made: {why}; run it again", stacklevel=2)
    return report


class Run:
    """A source, a destination and the settings between them."""

    def __init__(self, source: Source, place: Place, settings: Settings, codec: Codec, device: str) -> None:
        self.source, self.place, self.settings, self.codec, self.device = source, place, settings, codec, device
        self.part: Part

    @classmethod
    def of(
        cls, source: Any, destination: Any, codec: str | None, views: Sequence[str], resize: int | None,
        crop: int | None, format: str, checksums: bool, device: str, options: dict[str, Any],
    ) -> "Run":  # fmt: skip
        """Raises ValueError or TypeError for what does not fit together."""
        codec = codec or codec_there(Place(destination))
        kind = load(codec).kind if codec else None
        opened = open_source(source, kind, checksums=checksums)
        model = load(codec or default_codec(getattr(opened, "kind", "image")), device)
        if model.kind not in FACTS:
            raise ValueError(f"transcode: {model.name} is a codec of {model.kind}; expected one of {', '.join(FACTS)}")
        if format not in FORMATS:
            raise ValueError(f"format {format!r}, expected one of {', '.join(FORMATS)}")
        for name, value in (("resize", resize), ("crop", crop)):
            if value is not None and (model.kind != "image" or not 1 <= value <= 1 << 14):
                raise ValueError(f"{name} {value}, expected 1 to {1 << 14} pixels, of images; these are {model.kind}")
        if crop and resize and crop > resize:
            raise ValueError(f"crop {crop} of images whose shorter side is {resize} (resize); expected at most that")
        options = _all_options(model, options)
        if format == "parquet":
            pyarrow()
        ships = shipped(model.name)
        settings = Settings(
            ships.label if ships else Path(model.name).name, model.kind, _weights(model), options,
            parse_views(views, model.kind, crop), resize, crop, format,
        )  # fmt: skip
        return cls(opened, Place(destination), settings, model, device)

    def check_destination(self, append: bool) -> None:
        """Raises ValueError or UnwritableFileError unless it is empty, or holds a data set that can go on."""
        self.place.check_writable()
        source = self.source
        if isinstance(source, FolderSource) and self.place.is_within(source.place):
            raise ValueError(f"{self.place.url}: within the source, to which nothing is written: choose another folder")
        if self.place.size(MANIFEST) is not None:
            there = Manifest.read(self.place)
            wrong = self.settings.differences(there.settings)
            if wrong:
                raise ValueError(f"{self.place.url}: a data set with other settings: {'; '.join(wrong)}")
        elif self.place.is_folder() and (self.place.files() or self.place.files("data")):
            raise UnwritableFileError(f"{self.place.url}: holds files that are no data set of latents: choose another")
        elif append:
            raise ValueError(f"{self.place.url}: no data set of latents that could be appended to")

    def plan(self, append: bool, shard_size: int | None, watch: Watch) -> Changes:
        """Makes the plan, or makes it anew where the source has changed."""
        if shard_size is not None and shard_size < 1:
            raise ValueError(f"shard_size {shard_size}, expected 1 or more")
        watch.say("listing the source")
        with Listing(self.source) as listing:
            self.check_destination(append)  # listing takes long: another job may have begun there
            if self.place.size(plans.NAME) is None and self._begin(listing, shard_size, append):
                return Changes()
            parts = plans.read_parts(self.place)
            known = any(part.source == self.source.description for part in parts)
            if not known and not append:
                raise ValueError(
                    f"{self.place.url}: made of {parts[0].source}, not of {self.source.description}: add this with "
                    "append=True (--append), or choose another destination"
                )
            if not known:
                plans.check_keys(self.place, listing)
            part = plans.part_of(self.source, self.settings.digest, self._columns(), listing, plans.widest(parts))
            changes, self.part = plans.renew(self.place, self.source, part, listing, shard_size)
            return changes

    def _begin(self, listing: Listing, shard_size: int | None, append: bool) -> bool:
        """Makes the first plan; says whether, or another job was sooner."""
        self.part = plans.part_of(self.source, self.settings.digest, self._columns(), listing, None)
        if not self.manifest().create(self.place):  # before any other file, so that they are known to be ours
            self.check_destination(append)
        if shipped(self.settings.codec) is None:
            self.place.write(TABLES, Path(self.codec.name).read_bytes())
        writer = plans.PlanWriter(self.place)
        writer.part(self.part)
        writer.rest(listing, shard_size)
        return writer.create()

    def _columns(self) -> dict[str, str]:
        """Of the shards, without the label."""
        views = {"view": "string"} if self.settings.views else {}
        facts = FACTS[self.settings.kind]
        return {"key": "string", "payload": "binary", **views, **facts, **self.source.columns}

    def job(self) -> Job:
        name = self.codec.name
        if name.endswith(".safetensors"):
            name = str(Path(name).absolute())
        return Job(
            self.source, self.place, self.settings, name, self.part.columns, self.part.classes, self.device,
        )  # fmt: skip

    def manifest(self) -> Manifest:
        """What is known before any shard is there."""
        model: Any = self.codec
        codec = {
            "name": self.settings.codec, "codec_ids": list(model.tables_hashes), "tables_hash": model.tables_hashes,
            "weights_hash": model.weights_hash,
        }  # fmt: skip
        return Manifest(
            self.settings.kind, codec, self.settings.describe(), classes=self.part.classes, columns=self.part.columns
        )


def _weights(codec: Any) -> str:
    return " ".join([*codec.tables_hashes.values(), codec.weights_hash])


def _all_options(codec: Codec, options: dict[str, Any]) -> dict[str, Any]:
    """Those that are given and, as defaults may change, all that the codec has.

    Raises TypeError or ValueError for what neither the codec nor the reader of its kind knows.
    """
    reading = room(codec.kind).ReadOptions
    names = {f.name for f in fields(reading)}
    if "max_pixels" in names:  # of many files, nobody has looked at each
        options = {"max_pixels": MOST_PIXELS, **options}
    reading.of({k: v for k, v in options.items() if k in names})
    given = {k: v for k, v in options.items() if k not in names}
    told_by_files = {"sample_rate": 1} if codec.kind == "audio" else {}
    chosen = codec.Options.of({**told_by_files, **given})
    told = {f.name: getattr(chosen, f.name) for f in fields(chosen) if f.name not in told_by_files}
    return {**{k: v for k, v in told.items() if v is not None}, **options}
