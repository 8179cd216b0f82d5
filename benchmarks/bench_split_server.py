# SPDX-License-Identifier: Apache-2.0
"""`isthmus split serve` under load, beside what its tail does alone.

    python benchmarks/bench_split_server.py RUN [--photos FOLDER] [--seconds 60] [--connections 192] [--max-batch 64]

RUN: a trained head. The tail alone, in a process of its own: batches of streams unpacked, then through the head, one
after the other and no HTTP. Then the server in a process of its own, and a generator of load in another, on the same
machine, so that what the generator computes is taken from the server: all connections at once as fast as they are
answered, then 80 % of that at even times, a request's time counted from when it was due. The tail alone runs before and
after. Seconds of CPU are told too: where others use the machine, requests a second of CPU compare. Last, unpacking
alone on one thread. Goals: 85 % of the tail's own throughput without an error, 99 % of requests within a second at
80 % of the load, 2,000 streams a second unpacked by a core.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from shared.measurement import RESULTS, facts, write_json

from isthmus.media.image import read_image
from isthmus.media.kinds import list_files
from isthmus.samples import ASTRONAUT
from isthmus.split.reading import analyze_file
from isthmus.split.tail import Tail

SHARE, P99_MS, UNPACK, PART = 0.85, 1000, 2000, 0.8
USUAL_SIDE, PAYLOADS = 224, 256


def payloads_of(tail: Tail, photos: Path | None) -> list[bytes]:
    """Streams of photographs as the head's data set had them, or of crops of the photograph that ships."""
    if photos is not None:
        files = list_files(photos, "image", recursive=True)
        chosen = np.resize(np.random.default_rng(0).permutation(len(files)), PAYLOADS)
        latents = [analyze_file(tail.codec, files[place], tail.facts.settings) for place in chosen]
        return list(tail.codec.pack_batch(latents))
    image, random, side = read_image(ASTRONAUT), np.random.default_rng(0), tail.facts.settings["crop"] or USUAL_SIDE
    corners = random.integers(0, 512 - side, (PAYLOADS, 2))
    return [tail.codec.encode(image[y : y + side, x : x + side]) for y, x in corners]


def alone(tail: Tail, payloads: list[bytes], batch: int, seconds: float) -> dict[str, float]:
    """Requests a second, and a second of CPU, of the tail in batches, without HTTP."""
    batches = [
        [payloads[(start + number) % PAYLOADS] for number in range(batch)] for start in range(0, PAYLOADS, batch)
    ]
    done, begin, spent = 0, 0.0, 0.0
    while done == 0 or time.perf_counter() < begin + seconds:
        for one in batches:
            latents, errors = tail.unpack(one)
            assert not errors
            shares, places = tail.facts.shares(tail.logits(torch.stack(latents))).topk(min(5, len(tail.names)))
            [*zip(places.tolist(), shares.tolist(), strict=True)]
            if not begin:  # the first batch does not count
                begin, spent = time.perf_counter(), time.process_time()
            else:
                done += len(one)
            if done and time.perf_counter() > begin + seconds:
                break
    return rates(done, time.perf_counter() - begin, time.process_time() - spent)


def rates(done: int, seconds: float, spent: float) -> dict[str, float]:
    return {"per_s": round(done / seconds, 1), "per_cpu_s": round(done / spent, 1), "cpus": round(spent / seconds, 2)}


def unpacking(tail: Tail, payloads: list[bytes], batch: int, seconds: float) -> float:
    """Streams a second of CPU that one thread unpacks and dequantizes."""
    torch.set_num_threads(1)
    tail.unpack(payloads[:batch])
    done, begin = 0, time.process_time()  # of the one thread, whoever else is busy
    while time.process_time() < begin + seconds:
        tail.unpack(payloads[:batch])
        done += batch
    return done / (time.process_time() - begin)


def in_a_process(*arguments: object) -> Any:
    """JSON that a Python program prints."""
    command = [sys.executable, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    tail = Tail.open(options.run)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "payloads"
        payloads = payloads_of(tail, options.photos)
        file.write_bytes(pickle.dumps(payloads))
        me = (Path(__file__), options.run, "--payloads", file, "--max-batch", options.max_batch)
        short = ("--seconds", options.seconds / 2)
        before = in_a_process(*me, "--only", "alone", *short)
        served = under_load(options, file)
        after = in_a_process(*me, "--only", "alone", *short)
        unpacked = in_a_process(*me, "--only", "unpack", "--seconds", 5)
    own = {name: (before[name] + after[name]) / 2 for name in before}
    return {
        "model": tail.facts.head, "latents": list(tail.unpack(payloads[:1])[0][0].shape),
        "bytes": round(np.mean([len(one) for one in payloads])),
        "tail_alone": [before, after], **served,
        "share_of_tail": round(served["full"]["per_s"] / own["per_s"], 3),
        "share_per_cpu_s": round(served["full"]["per_cpu_s"] / own["per_cpu_s"], 3),
        "unpack_per_s_per_core": round(unpacked),
    }  # fmt: skip


def under_load(options: argparse.Namespace, file: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "isthmus", "split", "serve", options.run, "--port", 0]
    command += ["--max-batch", options.max_batch, "--queue", max(256, options.connections)]
    server = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split("http://")[1].split(",")[0]
        load = (Path(__file__).parent / "shared" / "load.py", *address.split(":"), file, options.connections)
        in_a_process(*load, 3, 0)  # does not count
        full = watched(server.pid, *load, options.seconds, 0)
        part = watched(server.pid, *load, options.seconds, round(PART * full["per_s"], 2))
    finally:
        server.terminate()
        status = server.wait(60)
    return {"full": full, "at_80_percent": part, "server_exit_status": status}


def watched(pid: int, *load: object) -> dict[str, Any]:
    """What a load came to, and what the server took for it."""
    spent = cpu_seconds(pid)
    found: dict[str, Any] = in_a_process(*load)
    return found | rates(sum(found["statuses"].values()), found["seconds"], cpu_seconds(pid) - spent)


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=192)
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--only", choices=["alone", "unpack"], help=argparse.SUPPRESS)
    parser.add_argument("--payloads", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        way = {"alone": alone, "unpack": unpacking}[options.only]
        payloads = pickle.loads(options.payloads.read_bytes())
        print(json.dumps(way(Tail.open(options.run), payloads, options.max_batch, options.seconds)))
        return
    load = os.getloadavg()[0]
    found = measured(options)
    print(json.dumps(found, indent=1))
    full, part = found["full"], found["at_80_percent"]
    right = all(set(one["statuses"]) == {"200"} and not one["broken_connections"] for one in (full, part))
    for goal, met in (
        (f"{SHARE:.0%} of the tail alone, without an error", found["share_of_tail"] >= SHARE and right),
        (f"p99 at 80 % under {P99_MS} ms", part["p99_ms"] < P99_MS),
        (f"{UNPACK} unpacked a second by a core", found["unpack_per_s_per_core"] >= UNPACK),
    ):
        print(f"{goal}: {'met' if met else 'MISSED'}")
    if load > 0.5:
        print(f"the machine was busy when this began (load {load:.1f}): not to be quoted")
    name = f"split_server_{found['model'].replace(':', '_')}.json"
    write_json(RESULTS / name, {"facts": facts(), "load_before": load, **found})


if __name__ == "__main__":
    main()
