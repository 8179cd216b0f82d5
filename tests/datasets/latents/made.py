# SPDX-License-Identifier: Apache-2.0
"""Data sets of latents as docs/format-dataset.md has them, made without a job."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isthmus.codecs.base import Codec
from isthmus.datasets.manifest import Listed, Manifest
from isthmus.datasets.settings import Settings
from isthmus.datasets.shards import of_format, shard_name
from isthmus.datasets.shards.info import PlaneSums, ShardInfo
from isthmus.datasets.steps import steps
from isthmus.datasets.storage import Place


class Made(NamedTuple):
    """A data set, and what is in it."""

    path: Path
    codec: Codec
    streams: list[bytes]
    planes: list[dict[str, np.ndarray]]

    @property
    def keys(self) -> list[str]:
        return [f"{i % 3}/{i:03d}.png" for i in range(len(self.streams))]


def images(array: np.ndarray, count: int, sizes: Sequence[tuple[int, int]] = ((64, 64),)) -> list[np.ndarray]:
    """Crops of a photograph."""
    random = np.random.default_rng(1)
    crops = []
    for i in range(count):
        height, width = sizes[i % len(sizes)]
        y, x = random.integers(0, 512 - height), random.integers(0, 512 - width)
        crops.append(np.ascontiguousarray(array[y : y + height, x : x + width]))
    return crops


def make(
    path: Path | str,
    codec: Any,
    samples: Sequence[Any],
    *,
    shard: int = 16,
    format: str = "parquet",
    complete: bool = True,
    tables: Path | None = None,
    **options: Any,
) -> Made:
    """Labels 0 to 2 by turns, class folders of the same names."""
    streams = [codec.encode(sample, **options) for sample in samples]
    latents = [codec.unpack(one) for one in streams]
    kind = codec.kind
    settings = Settings(codec.name, kind, codec.weights_hash, options, format=format)
    made = Made(Path(path), codec, streams, [{k: v.numpy() for k, v in one.planes.items()} for one in latents])
    size = {"height": "int32", "width": "int32"} if kind == "image" else {"samples": "int64"}
    columns = {"key": "string", "payload": "binary", "label": "int64", **size}
    place, listed, total = Place(path), [], dict[str, PlaneSums]()
    for number, start in enumerate(range(0, len(streams), shard)):
        chosen = range(start, min(start + shard, len(streams)))
        rows = []
        info = ShardInfo(number, settings.codec, settings.digest, "0" * 16, len(chosen))
        for i in chosen:
            signal = latents[i].spec.header.signal
            rows.append({"key": made.keys[i], "payload": streams[i], "label": i % 3})
            rows[-1] |= {name: getattr(signal, name) for name in size}
            for name, plane in made.planes[i].items():
                info.planes[name] = PlaneSums.of(plane[None]).merged(info.planes.get(name))
        for name, sums in info.planes.items():
            total[name] = sums.merged(total.get(name))
        name = shard_name(number, format)
        data = of_format(format).write(rows, columns, info).getvalue()
        place.write(name, data)
        listed.append(Listed(name, len(rows), len(data), hashlib.sha256(data).hexdigest()))
    planes = {name: sums.describe() for name, sums in total.items()}
    if latents:
        for name, step in steps(codec, latents[0].spec.header, latents[0].planes).items():
            planes[name]["step"] = step
    told = {"name": codec.name, "codec_ids": list(codec.tables_hashes), "tables_hash": codec.tables_hashes,
            "weights_hash": codec.weights_hash}  # fmt: skip
    manifest = Manifest(
        kind, told, settings.describe(), complete, ["0", "1", "2"], columns, len(streams) if complete else 0,
        planes=planes if complete else {}, shards=listed if complete else [],
    )  # fmt: skip
    manifest.write(place)
    if tables is not None:
        shutil.copy(tables, made.path / "codec.safetensors")
    return made
