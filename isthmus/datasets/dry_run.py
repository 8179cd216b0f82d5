# SPDX-License-Identifier: Apache-2.0
"""What a run would do, and how long it would take by a measured sample of it."""

import time
from typing import Any

from isthmus.datasets.engines.local import cores
from isthmus.datasets.finish import done_shards
from isthmus.datasets.job import Run
from isthmus.datasets.listing import Listing
from isthmus.datasets.plan import NAME as PLAN
from isthmus.datasets.plan import check_keys, read_parts, read_shards, read_tasks
from isthmus.datasets.rows import RowBuilder
from isthmus.datasets.shards.info import ShardInfo
from isthmus.datasets.sources import Item
from isthmus.progress import duration

SAMPLE = 24  # items that are encoded
SECONDS = 20.0  # at most
SHOWN = 3  # of what would be left out


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
        there = _there(run, listing, append)
        count, size = len(listing), listing.bytes
        left = count - there
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
        + (f"{there} of them done, {left} to do" if there else "none of them there yet"),
        f"by {tried} of them: {1e3 * spent:.1f} ms each on one core, about {duration(left * spent / processes)} "
        f"with {processes} worker{'s' * (processes > 1)}; {out / tried * count / 1e6:.1f} MB for all",
    ]  # fmt: skip
    lines += [run.source.note] if run.source.note else []
    lost = rows.info.lost
    lines += [f"would be left out: {key}: {why}" for key, why in lost[:SHOWN]]
    lines += [f"and {len(lost) - SHOWN} more of these {tried}"] if len(lost) > SHOWN else []
    return "\n".join(lines)


def _there(run: Run, listing: Listing, append: bool) -> int:
    """How many samples are in shards that are done and would be kept."""
    if run.place.size(PLAN) is None:
        return 0
    if append and all(part.source != run.source.description for part in read_parts(run.place)):
        check_keys(run.place, listing)
        return 0
    shards = read_shards(run.place)
    done = done_shards(run.place, run.settings, shards)
    kept = {s.number for s in shards if s.number in done and s.source == run.source.description}
    tasks = read_tasks(run.place, kept)
    return sum(len(task.items) for task in tasks if all(listing.take(item[0]) == item for item in task.items))
