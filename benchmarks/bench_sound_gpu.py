# SPDX-License-Identifier: Apache-2.0
"""Sound decoded with the network on a GPU, beside the CPU of the same machine.

    python benchmarks/bench_sound_gpu.py [--seconds 30] [--threads 2 16] [--repeats 5] [--output FILE.json]

The speech that ships, again and again, taken for 44.1 kHz so that nothing is resampled, stereo. Times real time at the
median of `--repeats`, with the CPU's threads as said: bytes to samples with a codec whose network is on the GPU, with
noise filled in and without, and on the CPU; its preview without network and noise; bytes to latents on the CPU. Then
the greatest and the mean difference of the GPU's samples, of full scale, for float32 products and for TF32.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared.measurement import RESULTS, facts, seconds_of, write_json

import isthmus
from isthmus.media import audio
from isthmus.samples import SPEECH

CODECS = ("walloc-audio-f256c27", "walloc-audio-f256c108")
QUALITY, RATE = 50, 44_100


def encoded(codec: Any, seconds: float) -> bytes:
    """A stream of the speech, its second channel another moment of it."""
    speech, count = audio.read(SPEECH, {})[0][0], round(seconds * RATE)
    long = np.tile(speech, count // len(speech) + 2)
    sound = np.stack([long[:count], long[33_000 : 33_000 + count]])
    data: bytes = codec.encode(sound, sample_rate=RATE, quality=QUALITY)
    return data


def differences(codec: Any, data: bytes, expected: torch.Tensor) -> dict[str, float]:
    """Of samples on the GPU from those of the CPU, for each precision of products."""
    found: dict[str, float] = {}
    before = torch.get_float32_matmul_precision()
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        apart = (codec.decode(data) - expected).abs()
        found[f"{precision}_max"], found[f"{precision}_mean"] = float(apart.max()), float(apart.mean())
    torch.set_float32_matmul_precision(before)
    return found


def measure(name: str, options: argparse.Namespace, device: torch.device) -> tuple[list[dict[str, Any]], Any]:
    """A row for each number of threads, and the differences."""
    here, there = isthmus.load(name), isthmus.load(name, device=str(device))
    data = encoded(here, options.seconds)
    calls = {
        "decode_gpu": lambda: there.decode(data),
        "decode_gpu_no_noise": lambda: there.decode(data, noise=False),
        "decode_cpu": lambda: here.decode(data),
        "preview_cpu": lambda: here.decode(data, synthesis="linear", noise=False),
        "unpack_cpu": lambda: here.unpack(data),
    }
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        row: dict[str, Any] = {"codec": name, "threads": threads}
        for what, call in calls.items():
            row[what] = round(options.seconds / statistics.median(seconds_of(call, options.repeats)), 1)
        print(f"{name}, times real time: {row}", flush=True)
        rows.append(row)
    return rows, differences(there, data, here.decode(data))


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "sound_gpu.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_sound_gpu: no CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    rows, apart = [], {}
    for name in CODECS:
        found, apart[name] = measure(name, options, device)
        rows += found
        print(f"{name}, differences of full scale: {apart[name]}", flush=True)
    report = {"gpu": torch.cuda.get_device_name(device), **facts(), "seconds": options.seconds, "quality": QUALITY}
    write_json(options.output, {**report, "rows": rows, "differences": apart})


if __name__ == "__main__":
    main()
