# SPDX-License-Identifier: Apache-2.0
"""What is read from the shards themselves: which are done, and, when all are, the manifest and the list of losses."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch

from isthmus.codecs.base import Latent
from isthmus.codecs.registry import load, pretrained
from isthmus.datasets import shards
from isthmus.datasets.manifest import Listed, Manifest
from isthmus.datasets.plan import Shard, read_parts
from isthmus.datasets.settings import Settings
from isthmus.datasets.shards import shard_name
from isthmus.datasets.shards.info import PlaneSums, ShardInfo
from isthmus.datasets.storage import Place
from isthmus.errors import IsthmusError

ERRORS = "errors.jsonl"
WEIGHTS = "codec.safetensors"  # of a codec that does not ship
BLOCK = 1 << 22


def done_shards(place: Place, settings: Settings, planned: Sequence[Shard]) -> dict[int, ShardInfo]:
    """What the shards say of themselves that are there, whole, of these settings and of their line of the plan."""
    found = {}
    names = set(place.files("data"))
    for shard in planned:
        name = shard_name(shard.number, settings.format)
        place.clean(name)
        if name.rpartition("/")[2] not in names:
            continue
        try:
            info = shards.read_info(place, name)
        except IsthmusError:  # cut or of something else: it is made again
            continue
        if (info.shard, info.settings, info.source) == (shard.number, settings.digest, shard.digest):
            found[shard.number] = info
    return found


def finish(place: Place, manifest: Manifest, planned: Sequence[Shard], report: Any) -> None:
    """Fills the report; with all shards there, writes the manifest and the list of losses."""
    settings = Settings(**{**manifest.settings, "views": tuple(manifest.settings["views"])})
    done = done_shards(place, settings, planned)
    infos = [done[shard.number] for shard in planned if shard.number in done]
    report.count = sum(info.count for info in infos)
    report.losses = [loss for info in infos for loss in info.lost]
    report.lost = len(report.losses)
    report.bytes_in, report.bytes_out = sum(i.bytes_in for i in infos), sum(i.bytes_out for i in infos)
    _write_losses(place, infos)
    report.complete = len(infos) == len(planned)
    if not report.complete:
        return
    planes: dict[str, PlaneSums] = {}
    for info in infos:
        for name, sums in info.planes.items():
            planes[name] = sums.merged(planes.get(name))
    manifest.complete = True
    manifest.count, manifest.lost = report.count, report.lost
    manifest.bytes_in, manifest.bytes_out = report.bytes_in, report.bytes_out
    steps = _steps(place, settings, infos)
    manifest.planes = {name: {**sums.describe(), "step": steps.get(name)} for name, sums in planes.items()}
    manifest.sources = [part.source for part in read_parts(place)]
    manifest.shards = [_listed(place, shard_name(info.shard, settings.format), info.count) for info in infos]
    manifest.write(place)


def _write_losses(place: Place, infos: Sequence[ShardInfo]) -> None:
    lines = [{"shard": info.shard, "key": key, "error": why} for info in infos for key, why in info.lost]
    if lines:
        place.write(ERRORS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
    else:
        place.remove(ERRORS)


def _listed(place: Place, name: str, count: int) -> Listed:
    found, size = hashlib.sha256(), 0
    with place.open(name) as file:
        while part := file.read(BLOCK):
            found.update(part)
            size += len(part)
    return Listed(name, count, size, found.hexdigest())


def _steps(place: Place, settings: Settings, infos: Sequence[ShardInfo]) -> dict[str, list[float]]:
    """By what integers are multiplied, by plane and channel, where that is how this codec dequantizes."""
    ships = any(settings.codec == p.label for p in pretrained())
    names = [shard_name(info.shard, settings.format) for info in infos if info.count]
    if not names:
        return {}
    codec = load(settings.codec if ships else place.name(WEIGHTS))
    latents = (codec.unpack(row["payload"]) for name in names for row in shards.rows(place, name))
    latent = next((x for x in latents if all(plane.numel() for plane in x.planes.values())), None)
    if latent is None:
        return {}
    found = {}
    for name in latent.planes:
        ones = codec.dequantize(_filled(latent, 1))[name]
        zeros, twos = (codec.dequantize(_filled(latent, n))[name] for n in (0, 2))
        first = ones.reshape(len(ones), -1)[:, :1]
        linear = ones.shape == latent.planes[name].shape and not zeros.any() and torch.equal(twos, 2 * ones)
        if linear and first.numel() == len(ones) and bool((ones.reshape(len(ones), -1) == first).all()):
            found[name] = [float(step) for step in first[:, 0]]
    return found


def _filled(latent: Latent, value: int) -> Latent:
    planes = {name: torch.full_like(plane, value) for name, plane in latent.planes.items()}
    return Latent(planes, latent.spec, latent.codec)
