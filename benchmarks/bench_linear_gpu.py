# SPDX-License-Identifier: Apache-2.0
"""Products of a few vectors with compressed matrices on a GPU, beside torch's with plain ones and with decoded ones.

    python benchmarks/bench_linear_gpu.py [--vectors 1 2 4 8] [--output FILE.json]

Matrices are bf16 N(0, 0.02), of the shapes of a layer of a Llama of 8 and of 70 billion weights. All is captured in a
CUDA graph and goes through as many copies as no cache holds; figures are medians, GB/s those of the plain weights.
Products are compared with exact ones: the greatest error over the greatest product, beside that of torch's.
"""

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_weights_gpu import CACHE, captured, copy_rate, milliseconds, random_weights
from shared.measurement import RESULTS, facts, write_json
from torch.nn.functional import linear

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.payload import read_payload
from isthmus.kernels.cuda.huffman import decode as cuda_huffman
from isthmus.kernels.cuda.huffman.linear import MOST, Matrix
from isthmus.kernels.huffman.streams import HuffmanStreams
from isthmus.weights.device_streams import plane_bytes, streams_of

SHAPES = [(4096, 4096), (1024, 4096), (14_336, 4096), (4096, 14_336), (28_672, 8192), (8192, 28_672)]


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).abs().max() / exact.abs().max())


def decoded(x: torch.Tensor, streams: HuffmanStreams, rest: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
    return linear(x, cuda_huffman.decode_bf16(streams, rest, out=room).view(-1, x.shape[1]))


def measure(rows: int, columns: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    device = torch.device("cuda", torch.cuda.current_device())
    plain = random_weights(rows * columns, device).view(rows, columns)
    bits = plain.view(torch.int16).cpu().numpy().view(np.uint16).reshape(-1)
    payload = read_payload(coding.encode(bits, threads=options.threads))
    streams = streams_of(payload, threads=options.threads)
    rest = plane_bytes(payload, 1, threads=options.threads)
    sets = [
        (plain.clone(), streams.to(device), rest.to(device)) for _ in range(max(1, round(CACHE / plain.nbytes)))
    ]  # fmt: skip
    held = [Matrix(coded, other, columns) for _, coded, other in sets]
    room = torch.empty(plain.numel(), dtype=torch.bfloat16, device=device)
    found = []
    for vectors in options.vectors:
        x = torch.randn(vectors, columns, device=device).to(torch.bfloat16)
        calls = {
            "plain": [partial(linear, x, weights) for weights, _, _ in sets],
            "decoded": [partial(decoded, x, coded, other, room) for _, coded, other in sets],
            "fused": [partial(matrix.times, x) for matrix in held],
        }
        row: dict[str, Any] = {"rows": rows, "columns": columns, "vectors": vectors}
        exact = x.double() @ plain.double().T
        for name, each in calls.items():
            taken = milliseconds(captured(each), options.repeats) / len(each)
            row |= {f"{name}_us": 1e3 * taken, f"{name}_gb_per_s": plain.nbytes / taken / 1e6}
        row |= {"error": error(held[0].times(x), exact), "torch_error": error(linear(x, plain), exact)}
        found.append(row)
        print(f"{rows:6d} x {columns:5d}, {vectors:2d} vectors: " + ", ".join(
            f"{name} {row[f'{name}_us']:6.1f} us {row[f'{name}_gb_per_s']:5.0f} GB/s" for name in calls
        ) + f"; error {row['error']:.1e}, torch's {row['torch_error']:.1e}", flush=True)  # fmt: skip
    return found


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, nargs="+", default=[*range(1, MOST + 1), 2 * MOST])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=8, help="for encoding")
    parser.add_argument("--output", type=Path, default=RESULTS / "linear_gpu.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_linear_gpu: no CUDA device")
    name, copy = torch.cuda.get_device_name(), copy_rate(torch.device("cuda"), options.repeats)
    print(f"{name}: copy {copy:.0f} GB/s, bytes read plus written")
    rows = [row for shape in SHAPES for row in measure(*shape, options)]
    for vectors in options.vectors:
        some = [row for row in rows if row["vectors"] == vectors]
        for other in ("plain", "decoded"):
            ratios = [row["fused_us"] / row[f"{other}_us"] for row in some]
            print(
                f"{vectors:2d} vectors: fused takes {statistics.median(ratios):.2f} times as long as {other} (median)"
            )
    write_json(options.output, {"gpu": name, "copy_gb_per_s": copy, **facts(), "rows": rows})


if __name__ == "__main__":
    main()
