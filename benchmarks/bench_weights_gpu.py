# SPDX-License-Identifier: Apache-2.0
"""Decoding weights on a GPU: our kernel beside a copy, torch's operations, the published DFloat11 kernel and nvCOMP.

    python benchmarks/bench_weights_gpu.py [--megabytes 16 256 4096] [--peers DIRECTORY] [--output FILE.json]

Each size is of bf16 weights N(0, 0.02). A figure is the median of `--repeats` timings of at least 20 ms each, taken
with CUDA events; small sizes go through as many copies as no cache holds. Kernels are captured in a CUDA graph, so that
Python's launches, which have a column of their own, do not count; torch's operations and nvCOMP are called. Every
result is compared with the weights, bit for bit. GB/s are of bf16 output; the copy counts bytes read and written. The
roofline is that copy over the bytes that the kernel must read and write. The DFloat11 kernel is launched as its own
package does, with cupy, from the PTX in DIRECTORY; nvCOMP's ANS takes the weights as 16-bit floats.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared.measurement import RESULTS, facts, write_json

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.payload import read_payload
from isthmus.kernels.cuda.huffman import decode as cuda_huffman
from isthmus.kernels.huffman import torch_decode
from isthmus.weights.device_streams import plane_bytes, streams_of
from isthmus.weights.upstream.block import UpstreamBlock
from isthmus.weights.upstream.encode import encode_block

CACHE = 400e6  # bytes that no cache holds
ROUND = 20.0  # milliseconds of one timing, at least
GOAL, STRETCH = 0.65, 0.80  # of the roofline


def captured(calls: list[Callable[[], object]]) -> list[Callable[[], object]]:
    """One call that does all of these, without what Python takes to launch them."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return [graph.replay]


def microseconds_of_launches(call: Callable[[], object], count: int = 300) -> float:
    """What Python and the driver take for a call, the GPU's work not waited for."""
    call()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        call()
    taken = time.perf_counter() - begin
    torch.cuda.synchronize()
    return 1e6 * taken / count


def milliseconds(calls: list[Callable[[], object]], repeats: int) -> float:
    """Of one call, the median over `repeats` rounds through all of them."""

    def time(rounds: int) -> float:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(rounds):
            for call in calls:
                call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    time(1)
    rounds = max(1, int(ROUND / max(time(1), 1e-3)))
    return statistics.median(time(rounds) for _ in range(repeats)) / rounds / len(calls)


def copy_rate(device: torch.device, repeats: int) -> float:
    """GB/s of a copy within the device, bytes read plus bytes written."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device=device).random_(0, 256)
    target = torch.empty_like(source)
    return 2 * source.nbytes / milliseconds([lambda: target.copy_(source)], repeats) / 1e6


def random_weights(count: int, device: torch.device) -> torch.Tensor:
    parts = [torch.randn(min(1 << 27, count - at), device=device) for at in range(0, count, 1 << 27)]
    return torch.cat([(part * 0.02).to(torch.bfloat16) for part in parts])


def same(found: torch.Tensor, weights: torch.Tensor) -> bool:
    return torch.equal(found.view(torch.int16), weights.view(torch.int16))


def ours(weights: torch.Tensor, bits: np.ndarray, repeats: int, threads: int) -> list[dict[str, Any]]:
    """Rows of the kernel, and of torch where memory allows."""
    payload = read_payload(coding.encode(bits, threads=threads))
    streams = streams_of(payload, threads=threads).to(weights.device)
    rest = plane_bytes(payload, 1, threads=threads).to(weights.device)
    traffic = streams.data.nbytes + streams.warps.nbytes + streams.lengths.nbytes + rest.nbytes + weights.nbytes
    count = max(1, round(CACHE / traffic))
    sets = [(streams.to(weights.device), rest, torch.empty_like(weights))]
    for _ in range(count - 1):
        other = streams.to("cpu").to(weights.device)
        sets.append((other, rest.clone(), torch.empty_like(weights)))
    rows = []
    for name, decoder in (("isthmus", cuda_huffman), ("torch operations", torch_decode)):
        if name != "isthmus" and weights.numel() > 1 << 28:
            continue
        calls = [lambda s=s, r=r, o=o, d=decoder: d.decode_bf16(s, r, out=o) for s, r, o in sets]
        for call in calls:
            call()
        exact = all(same(out, weights) for _, _, out in sets)
        row: dict[str, Any] = {"decoder": name, "exact": exact, "traffic": traffic, "tables": len(streams.tables)}
        if name == "isthmus":
            row["ms"] = milliseconds(captured(calls), repeats) / len(calls)
            row["launch_us"] = microseconds_of_launches(calls[0])
        else:
            row["ms"] = milliseconds(calls[:1], repeats)
        rows.append(row)
    return rows


def published(weights: torch.Tensor, block: UpstreamBlock, peers: Path, repeats: int) -> dict[str, Any]:
    """A row of the DFloat11 kernel."""
    import cupy

    kernel = cupy.RawModule(path=str(peers / "dfloat11" / "decode.ptx")).get_function("decode")
    fields = ("luts", "encoded_exponent", "sign_mantissa", "output_positions", "gaps")
    held = [torch.from_numpy(np.array(getattr(block, field))).to(weights.device) for field in fields]
    out = torch.empty_like(weights)
    shared = block.threads_per_block * 4 + 4 + 2 * int(np.diff(block.positions).max())
    arguments = [*(t.data_ptr() for t in (*held, out)), len(block.luts), len(block.encoded_exponent), len(block)]

    def call() -> None:
        stream = cupy.cuda.ExternalStream(torch.cuda.current_stream(weights.device).cuda_stream)
        with stream:
            kernel((block.chunks,), (block.threads_per_block,), arguments, shared_mem=shared)

    call()
    traffic = sum(tensor.nbytes for tensor in held) + out.nbytes
    row = {"decoder": "dfloat11", "exact": same(out, weights), "traffic": traffic}
    return {**row, "ms": milliseconds(captured([call]), repeats), "launch_us": microseconds_of_launches(call)}


def nvcomp_ans(weights: torch.Tensor, repeats: int) -> dict[str, Any]:
    """A row of nvCOMP."""
    from nvidia import nvcomp

    stream = torch.cuda.current_stream(weights.device).cuda_stream
    codec = nvcomp.Codec(algorithm="ANS", data_type="<f2", device_id=weights.device.index, cuda_stream=stream)
    held = codec.encode(nvcomp.as_array(weights.view(torch.uint8)))
    found = torch.as_tensor(codec.decode(held), device=weights.device)
    exact = same(found.view(torch.uint8).view(torch.bfloat16), weights)
    row = {"decoder": "nvCOMP ANS", "exact": exact, "traffic": held.buffer_size + weights.nbytes}
    return {**row, "ms": milliseconds([lambda: codec.decode(held)], repeats)}


def measure(count: int, device: torch.device, copy: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    weights = random_weights(count, device)
    bits = weights.view(torch.int16).cpu().numpy().view(np.uint16)
    rows = ours(weights, bits, options.repeats, options.threads)
    if options.peers and count < 1 << 31:  # its indices have 32 bits
        try:
            block = encode_block("weights", [bits], threads=options.threads)
            rows.append(published(weights, block, options.peers, options.repeats))
        except ImportError as error:
            rows.append({"decoder": "dfloat11", "missing": str(error)})
    try:
        rows.append(nvcomp_ans(weights, options.repeats))
    except ImportError as error:
        rows.append({"decoder": "nvCOMP ANS", "missing": str(error)})
    for row in rows:
        row["megabytes"] = round(weights.nbytes / (1 << 20))
        if "ms" in row:
            row["size"] = (row["traffic"] - weights.nbytes) / weights.nbytes
            row["gb_per_s"] = weights.nbytes / row["ms"] / 1e6
            row["roofline_gb_per_s"] = copy * weights.nbytes / row["traffic"]
            row["share"] = row["gb_per_s"] / row["roofline_gb_per_s"]
    return rows


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[16, 256, 4096])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=8, help="for encoding")
    parser.add_argument("--peers", type=Path, help="a directory with the dfloat11 package")
    parser.add_argument("--output", type=Path, default=RESULTS / "weights_gpu.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_weights_gpu: no CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    copy = copy_rate(device, options.repeats)
    name = torch.cuda.get_device_name(device)
    print(f"{name}: copy {copy:.0f} GB/s, bytes read plus written")
    rows = []
    for megabytes in options.megabytes:
        for row in measure(megabytes << 19, device, copy, options):
            rows.append(row)
            if "missing" in row:
                print(f"{megabytes:5d} MB  {row['decoder']:17s} not measured: {row['missing']}")
                continue
            print(
                f"{megabytes:5d} MB  {row['decoder']:17s} {row['gb_per_s']:8.1f} GB/s  {100 * row['size']:5.2f} %  "
                f"{100 * row['share']:5.1f} % of the roofline  {'exact' if row['exact'] else 'WRONG'}"
                + (f"  {row['launch_us']:5.1f} us a launch" if "launch_us" in row else ""),
                flush=True,
            )
    best = max((row["share"] for row in rows if row["decoder"] == "isthmus"), default=0.0)
    print(f"goal {GOAL:.0%} of the roofline: {'met' if best >= GOAL else 'missed'}; stretch {STRETCH:.0%}: "
          f"{'met' if best >= STRETCH else 'missed'}")  # fmt: skip
    write_json(options.output, {"gpu": name, "copy_gb_per_s": copy, **facts(), "rows": rows})


if __name__ == "__main__":
    main()
