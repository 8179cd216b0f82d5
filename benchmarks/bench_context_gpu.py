# SPDX-License-Identifier: Apache-2.0
"""Sounds to latents on a GPU, many streams at once, beside the CPU of the same machine.

    python benchmarks/bench_context_gpu.py [--streams 16 100 400] [--seconds 30] [--output FILE.json]

Streams of the speech that ships, stereo, each from another moment on: `--kinds` different ones, which come again until
there are enough. Times real time of `unpack_batch(device="cuda")`, of opening the streams alone, which is its part on
the CPU, and of `unpack` one stream after another, medians of `--repeats`; milliseconds of both kernels, with CUDA
events, for each number of threads that may share a payload. Every kind is compared with the CPU's integers.
"""

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_weights_gpu import milliseconds
from shared.measurement import RESULTS, facts, seconds_of, write_json

import isthmus
from isthmus.codecs.walloc.audio import batch
from isthmus.entropy.models import device_causal
from isthmus.kernels.cuda.context import causal as kernels
from isthmus.media import audio
from isthmus.samples import SPEECH

CODECS = ("walloc-audio-f256c27", "walloc-audio-f256c108")
GROUPS = (4, 8, 16, 32)
QUALITY = 50


def encoded(codec: isthmus.Codec, kinds: int, seconds: float) -> list[bytes]:
    """Streams of `seconds` each."""
    speech, options = audio.read(SPEECH, {})
    rate = options["sample_rate"]
    count = round(seconds * rate)
    long = np.tile(speech[0], -(-2 * count // speech.shape[1]) + 1)
    starts = [(k * speech.shape[1] // kinds, k * speech.shape[1] // (2 * kinds)) for k in range(kinds)]
    return [
        codec.encode(np.stack([long[a : a + count], long[b : b + count]]), sample_rate=rate, quality=QUALITY)
        for a, b in starts
    ]


def kernel_times(codec: isthmus.Codec, data: list[bytes], device: torch.device, repeats: int) -> dict[str, Any]:
    """Milliseconds of the kernels for latents and for noise by number of threads a payload, and whether all agree."""
    calls: list[tuple[Any, ...]] = []
    decode = kernels.decode

    def noted(*arguments: Any) -> Any:
        calls.append(arguments)
        return decode(*arguments)

    kernels.decode = noted
    try:
        codec.unpack_batch(data, device=str(device))
    finally:
        kernels.decode = decode
    found: dict[str, Any] = {}
    weights: Any = codec.weights  # type: ignore[attr-defined]
    for name, model, (payloads, units, _, out) in zip(
        ("latents", "noise"), (weights.context, weights.noise), calls, strict=True
    ):
        expected, p = out.clone(), model.predictor
        biases, lags = (p.mean_bias, p.scale_bias, p.scale_offset), int(p.tap_lags.max())
        row: dict[str, Any] = {"payloads": len(units), "bytes": len(payloads), "integers": len(out)}
        for group in GROUPS:
            there = kernels.DeviceCausal.upload(p.weights, biases, lags, model.family, device, group)
            call = partial(decode, payloads, units, there, out)
            out.zero_()
            row[f"group_{group}_ms"] = round(milliseconds([call], repeats), 3)
            row[f"group_{group}_exact"] = torch.equal(out, expected)
        found[name] = row
    return found


def measure(name: str, options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    codec: Any = isthmus.load(name)
    kinds = encoded(codec, options.kinds, options.seconds)
    here = [codec.unpack(one) for one in kinds]
    slow = statistics.median(seconds_of(lambda: [codec.unpack(one) for one in kinds], options.repeats))
    cpu = len(kinds) * options.seconds / slow
    rows = []
    for count in options.streams:
        data = [kinds[i % len(kinds)] for i in range(count)]
        there = codec.unpack_batch(data, device=str(device))
        exact = all(latent == here[i % len(kinds)] for i, latent in enumerate(there.latents))

        def on_device(data: list[bytes] = data) -> None:
            _ = codec.unpack_batch(data, device=str(device)).planes
            torch.cuda.synchronize()

        def opening(data: list[bytes] = data) -> None:
            batch.fits(codec.weights.coder, [batch._open(codec.open(one), codec.weights.coder) for one in data])

        whole = statistics.median(seconds_of(on_device, options.repeats))
        opened = statistics.median(seconds_of(opening, options.repeats))
        sound = count * options.seconds
        rows.append({
            "codec": name, "streams": count, "seconds_each": options.seconds, "bytes": sum(map(len, data)),
            "exact": exact, "unpack_batch_ms": round(1e3 * whole, 2), "opening_ms": round(1e3 * opened, 2),
            "unpack_batch_x_realtime": round(sound / whole), "cpu_unpack_x_realtime": round(cpu),
            "cpu_threads": torch.get_num_threads(), "kernels": kernel_times(codec, data, device, options.repeats),
        })  # fmt: skip
    return rows


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[16, 100, 400])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--kinds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "context_gpu.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_context_gpu: no CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    gpu, rows = torch.cuda.get_device_name(device), []
    for name in CODECS:
        for row in measure(name, options, device):
            rows.append(row)
            parts = row["kernels"]
            times = ", ".join(
                f"{what} ({part['payloads']}): " + " ".join(f"{g}: {part[f'group_{g}_ms']}" for g in GROUPS)
                for what, part in parts.items()
            )
            exact = row["exact"] and all(part[f"group_{g}_exact"] for part in parts.values() for g in GROUPS)
            print(
                f"{name} {row['streams']:4d} streams: {row['unpack_batch_ms']:8.1f} ms, opening "
                f"{row['opening_ms']:.1f}, {row['unpack_batch_x_realtime']} times real time (CPU, "
                f"{row['cpu_threads']} threads: {row['cpu_unpack_x_realtime']}); ms of kernels by threads a payload: "
                f"{times}; {'exact' if exact else 'WRONG'}",
                flush=True,
            )
    write_json(options.output, {"gpu": gpu, "group": device_causal.kernels.GROUP, **facts(), "rows": rows})


if __name__ == "__main__":
    main()
