# SPDX-License-Identifier: Apache-2.0
"""Speed and memory of the codecs of sound on one recording, beside MP3 and Opus in the same process.

    python benchmarks/bench_sound.py FILE [--seconds 60] [--hours 10] [--repeats 5] [--output FILE.json]

Times real time at the median: array to bytes on one thread (ours, MP3 and Opus through FFmpeg), bytes to latents and
latents to bytes on one and two threads, bytes to samples through the network and without it. Then, each in a process of
its own, a stream of `--hours` of the recording again and again is encoded from blocks and decoded to blocks that are
thrown away: its peak of memory beyond that of a process that has loaded the codec and run once.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared.measurement import RESULTS, facts, write_json

import isthmus
from isthmus.bench.peers.ffmpeg import MP3, OPUS
from isthmus.kernels.resample.resampler import resample
from isthmus.media import audio

CODECS = ("walloc-audio-f256c27", "walloc-audio-f256c108")
GOALS = {"encode": 100.0, "decode, 2 threads": 20.0, "unpack": 400.0, "pack": 400.0}
RATE = 44_100
LONG = """
import io, json, resource, sys
import numpy as np
import isthmus
what, name, path, hours = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
codec = isthmus.load(name)
block = np.load(path)
class Nothing(io.RawIOBase):
    size = 0
    def writable(self): return True
    def write(self, data): self.size += len(data); return len(data)
data = codec.encode(block[:, :200000], sample_rate=44100)
codec.decode(data)
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = max(1, round(hours * 3600 * 44100 / block.shape[1]))
if what == "encode":
    file = Nothing()
    codec.write((block for _ in range(count)), file, sample_rate=44100)
    size = file.size
else:
    size = 0
    with codec.open(path + ".ist") as units:
        for samples in units.blocks(synthesis="linear", noise=False):
            size += samples.shape[1]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"hours": count * block.shape[1] / 44100 / 3600, "size": size, "mb": (peak - base) / 1000}))
"""


def times(call: Callable[[], Any], seconds: float, repeats: int) -> float:
    """Times real time, at the median of repeats after one that does not count."""
    call()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return seconds / statistics.median(spent)


def speeds(sound: np.ndarray, quality: int, repeats: int) -> dict[str, dict[str, float]]:
    """Of every codec and call."""
    seconds = sound.shape[1] / RATE
    found: dict[str, dict[str, float]] = {}
    for name in CODECS:
        codec: Any = isthmus.load(name)
        data = codec.encode(sound, sample_rate=RATE, quality=quality)
        row = {"kbit/s": 8e-3 * len(data) / seconds}
        latent = codec.unpack(data)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            of = "" if threads == 1 else ", 2 threads"
            row[f"encode{of}"] = times(
                lambda c=codec: c.encode(sound, sample_rate=RATE, quality=quality), seconds, repeats
            )
            row[f"unpack{of}"] = times(lambda c=codec, d=data: c.unpack(d), seconds, repeats)
            row[f"pack{of}"] = times(lambda c=codec, x=latent: c.pack(x), seconds, repeats)
            row[f"decode{of}"] = times(lambda c=codec, d=data: c.decode(d), seconds, repeats)
            row[f"preview{of}"] = times(
                lambda c=codec, d=data: c.decode(d, synthesis="linear", noise=False), seconds, repeats
            )
        found[name] = row
    torch.set_num_threads(1)
    for peer, kbps in ((MP3, 64), (OPUS, 32)):
        data = peer.encode(sound, sample_rate=RATE, quality=kbps)
        found[peer.name] = {
            "kbit/s": 8e-3 * len(data) / seconds,
            "encode": times(lambda p=peer, k=kbps: p.encode(sound, sample_rate=RATE, quality=k), seconds, repeats),
            "decode": times(lambda p=peer, d=data: p.decode_like(d, sound, sample_rate=RATE), seconds, repeats),
        }
    return found


def long_streams(sound: np.ndarray, hours: float, folder: Path) -> dict[str, Any]:
    """Peak of memory of a very long sound."""
    path = folder / "sound.npy"
    np.save(path, sound)
    found: dict[str, Any] = {}
    for name in CODECS:
        codec: Any = isthmus.load(name)
        with open(f"{path}.ist", "wb") as file:
            codec.write(
                (sound for _ in range(max(1, round(hours * 3600 * RATE / sound.shape[1])))), file, sample_rate=RATE
            )
        for what in ("encode", "decode"):
            command = [sys.executable, "-c", LONG, what, name, str(path), str(hours)]
            found[f"{what} {name}"] = json.loads(
                subprocess.run(command, capture_output=True, check=True, text=True).stdout
            )
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--quality", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "sound.json")
    arguments = parser.parse_args()
    sound, told = audio.read(arguments.file, {})
    sound = resample(sound[:2], told["sample_rate"], RATE)
    sound = np.ascontiguousarray(np.broadcast_to(sound, (2, sound.shape[1]))[:, : int(arguments.seconds * RATE)])
    result: dict[str, Any] = {**facts(), "seconds": sound.shape[1] / RATE, "goals": GOALS}
    result["times_real_time"] = speeds(sound, arguments.quality, arguments.repeats)
    for name, row in result["times_real_time"].items():
        print(name, ", ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if arguments.hours:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            result["memory"] = long_streams(sound, arguments.hours, Path(folder))
        for name, row in result["memory"].items():
            print(f"{name}: {row['hours']:.1f} hours, {row['mb']:.0f} MB more than one encode and decode")
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    write_json(arguments.output, result)


if __name__ == "__main__":
    main()
