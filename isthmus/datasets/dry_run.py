# SPDX-License-Identifier: Apache-2.0
"""What a run would do, and how long it would take by a measured sample of it."""

import time
from typing import Any

from isthmus.datasets.engines.local import cores
from isthmus.datasets.job import Run
from isthmus.datasets.listing import Listing
from isthmus.datasets.plan import NAME as PLAN
from isthmus.datasets.plan import check_keys, read_plan
from isthmus.datasets.rows import RowBuilder
from isthmus.datasets.shards.info import ShardInfo
from isthmus.datasets.sources import Item
from isthmus.datasets.work import Task

SAMPLE = 24  # items that are encoded
SECONDS = 20.0  # at most


def estimate(
    source: Any, destination: str, *, append: bool = False, workers: int | None = None, shard_size: int | None = None,
    **given: Any,
) -> str:  # fmt: skip
    """In words; nothing is written. Arguments and errors as of `transcode`."""
    names = ("codec", "views", "resize", "crop", "format", "checksums", "device")
    chosen = {name: given.pop(name) for name in names}
    run = Run.of(source, destination, options=given, **chosen)
    run.check_destination(append)
    with Listing(run.source) as listing:
        there = 0
        if run.place.size(PLAN) is not None:
            if append:
                check_keys(run.place, listing)
            for line in read_plan(run.place):
                there += sum(listing.take(i[0]) == i for i in line.items) if isinstance(line, Task) else 0
        count, size = len(listing), listing.bytes
        rows = RowBuilder(run.source, run.settings, run.codec, ShardInfo(0, "", "", ""), listing.names)
        spread, done, start = listing.spread(SAMPLE + 1), 0, 0.0
        for number, values in enumerate(spread):
            rows.add(Item.unpack(values))
            if number == 0:  # kernels are compiled, weights are read
                rows.flush()
                start = time.perf_counter()
                continue
            done += 1
            if time.perf_counter() - start > SECONDS:
                break
        rows.flush()
        spent = (time.perf_counter() - start) / max(1, done)
    processes = cores() if workers is None else max(1, workers)
    out, tried = sum(len(row["payload"]) for row in rows.rows), done + 1
    lines = [
        f"{run.place.url}: {count} samples ({size / 1e6:.1f} MB) with {run.settings.codec}, "
        + (f"{there} of them planned before" if there else "none of them there yet"),
        f"by {tried} of them: {1e3 * spent:.1f} ms each on one core, about {_time(count * spent / processes)} "
        f"with {processes} worker{'s' * (processes > 1)}; {out / tried * count / 1e6:.1f} MB",
    ]  # fmt: skip
    lines += [f"would be left out: {key}: {why}" for key, why in rows.info.lost[:3]]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} hours" if minutes >= 60 else f"{minutes}:{rest:02d} minutes"
