# SPDX-License-Identifier: Apache-2.0
"""What is read from the shards themselves: which are done, and, when all are, the manifest and the list of losses."""

import json
import warnings
from collections.abc import Collection, Sequence

from isthmus.datasets import shards
from isthmus.datasets.latents.reader import Reader
from isthmus.datasets.manifest import Listed, Manifest
from isthmus.datasets.plan import Shard, read_parts
from isthmus.datasets.settings import Settings
from isthmus.datasets.shards import shard_name
from isthmus.datasets.shards.info import PlaneSums, ShardInfo
from isthmus.datasets.steps import steps
from isthmus.datasets.storage import Place
from isthmus.datasets.watch import Report
from isthmus.errors import CorruptStreamError, IsthmusError

ERRORS, CARD = "errors.jsonl", "README.md"
HUGGING_FACE = {"float": "float32", "double": "float64"}  # types that are called otherwise there


def done_shards(place: Place, settings: Settings, planned: Sequence[Shard]) -> dict[int, ShardInfo]:
    """What the shards say of themselves that are there, whole, of these settings and of their line of the plan."""
    found = {}
    names = set(place.files("data"))
    for shard in planned:
        name = shard_name(shard.number, settings.format)
        if name.rpartition("/")[2] not in names:
            continue
        try:
            info = shards.read_info(place, name)
        except IsthmusError:  # cut or of something else: it is made again
            continue
        if (info.shard, info.settings, info.source) == (shard.number, settings.digest, shard.digest):
            found[shard.number] = info
    return found


def finish(
    place: Place,
    settings: Settings,
    manifest: Manifest,
    planned: Sequence[Shard],
    report: Report,
    made: Collection[int],
) -> None:
    """Fills the report; with all shards there, writes the manifest and the list of losses.

    made: shards of this run; of the others the manifest keeps its checksums, so that damage is not taken for granted.
    """
    known = {shard.file: shard for shard in Manifest.read(place).shards}
    done = done_shards(place, settings, planned)
    infos = [done[shard.number] for shard in planned if shard.number in done]
    report.count = sum(info.count for info in infos)
    report.losses = [loss for info in infos for loss in info.lost]
    report.lost = len(report.losses)
    report.bytes_in, report.bytes_out = sum(i.bytes_in for i in infos), sum(i.bytes_out for i in infos)
    _write_losses(place, infos)
    report.there, report.complete = len(infos), len(infos) == len(planned)
    if not report.complete:
        return
    planes: dict[str, PlaneSums] = {}
    for info in infos:
        for name, sums in info.planes.items():
            planes[name] = sums.merged(planes.get(name))
    manifest.complete = True
    manifest.count, manifest.lost = report.count, report.lost
    manifest.bytes_in, manifest.bytes_out = report.bytes_in, report.bytes_out
    factors = steps_of(place, manifest, infos)
    manifest.planes = {name: {**sums.describe(), "step": factors.get(name)} for name, sums in planes.items()}
    manifest.sources = [part.source for part in read_parts(place)]
    manifest.shards = []
    for info in infos:
        name = shard_name(info.shard, settings.format)
        there = known.get(name) if info.shard not in made else None
        if there is None or (there.count, there.bytes) != (info.count, place.size(name)):
            sha256, size = place.sha256(name)
            there = Listed(name, info.count, size, sha256)
        manifest.shards.append(there)
    place.write(CARD, _card(manifest).encode())
    manifest.write(place)
    named = {shard.file for shard in manifest.shards}
    for file in (f"data/{name}" for name in place.files("data")):
        if file not in named:  # left of a plan that somebody removed; it may be all that there is of its samples
            told = "not of this plan, and left alone: remove it, other readers find it"
            warnings.warn(f"{place.name(file)}: {told}", stacklevel=3)


def _card(manifest: Manifest) -> str:
    """For people and for Hugging Face's tools, which read there where the shards are, and what labels are called."""
    suffix = "tar" if manifest.settings["format"] == "tar" else "parquet"
    features = _features(manifest) if suffix == "parquet" and manifest.classes else ""
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files: data/*.{suffix}\n{features}---\n\n"
        f"{manifest.count} samples of {manifest.kind} as latents of `{manifest.codec['name']}`, made by isthmus.\n\n"
        "    from isthmus.datasets import LatentDataset\n\n"
        '    latents = LatentDataset("this folder")\n\n'
        "Each `payload` is a whole stream: `isthmus.unpack(payload)`, `isthmus.decode(payload)`.\n"
    )


def _features(manifest: Manifest) -> str:
    """Columns in the YAML of Hugging Face's cards; without them `load_dataset` gives labels without names."""
    lines = ["dataset_info:", "  features:"]
    for name, kind in manifest.columns.items():
        lines += [f"  - name: {_quoted(name)}"]
        if name == "label":
            names = [f"          '{n}': {_quoted(told)}" for n, told in enumerate(manifest.classes or ())]
            lines += ["    dtype:", "      class_label:", "        names:", *names]
        else:
            lines += [f"    dtype: {HUGGING_FACE.get(kind, kind)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """As YAML reads it, whatever it is."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in text) + '"'


def _write_losses(place: Place, infos: Sequence[ShardInfo]) -> None:
    lines = [{"shard": info.shard, "key": key, "error": why} for info in infos for key, why in info.lost]
    if lines:
        place.write(ERRORS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
    else:
        place.remove(ERRORS)


def steps_of(place: Place, manifest: Manifest, infos: Sequence[ShardInfo]) -> dict[str, list[float] | None]:
    """By plane, as the first sample tells that has numbers in all planes; empty where there is none."""
    names = {info.shard: shard_name(info.shard, manifest.settings["format"]) for info in infos if info.count}
    codec = Reader(place, manifest).codec if names else None
    for number, name in names.items():
        for row in shards.rows(place, name):
            assert codec is not None
            try:
                latent = codec.unpack(row["payload"])
            except IsthmusError as error:
                again = f"make it again with --rebuild {number}, rebuild=[{number}]"
                raise CorruptStreamError(f"{place.name(name)}: {row['key']}: {error}: {again}") from error
            if all(plane.numel() for plane in latent.planes.values()):
                return steps(codec, latent.spec.header, latent.planes)
    return {}
