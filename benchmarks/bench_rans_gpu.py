# SPDX-License-Identifier: Apache-2.0
"""The entropy engine's rANS on a GPU: symbols a second with one table and with 64, beside a copy of the same run.

    python benchmarks/bench_rans_gpu.py [--symbols 268435456] [--chunks 8192 16384 65536] [--output FILE.json]

Rounded Laplacian integers: of one scale, or of 64 scales with another table for each symbol. They are encoded on the
GPU in chunks of so many symbols, 32 lanes each, and decoded to int32 and to int8; some chunks are decoded on the CPU
too, and encoded there, to the same bytes. A figure is the median of `--repeats` timings of at least 20 ms each, taken
with CUDA events: of the decoding kernel in a CUDA graph, of encoding as it is called. Sizes stand beside what the
symbols cost in their tables.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_weights_gpu import captured, copy_rate, microseconds_of_launches, milliseconds
from shared.entropy_peers import ONE_SCALE, REACH, laplacian
from shared.measurement import RESULTS, facts, write_json

from isthmus.entropy import TableFamily, decode, encode
from isthmus.kernels.cuda.rans import coder as cuda_rans

SCALES = np.geomspace(0.25, 8, 64)
GOALS = {1: 100.0, 64: 40.0}  # G symbols/s
CHECKED = 20  # chunks that go through the CPU
LANES = 32  # a warp's; fewer, which small payloads get by themselves, leave the others idle


def draw(count: int, scales: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | int]:
    """Symbols int8 [count] within +-REACH, and the number of the table of each, uint8 [count], or 0 for one."""
    generator = torch.Generator(device).manual_seed(0)
    symbols = torch.empty(count, dtype=torch.int8, device=device)
    indices = torch.randint(0, len(scales), (count,), generator=generator, dtype=torch.uint8, device=device)
    of = torch.from_numpy(scales).float().to(device)
    for some, choice in zip(symbols.split(1 << 24), indices.split(1 << 24), strict=True):
        uniform = torch.rand(len(some), generator=generator, device=device) - 0.5
        drawn = -of[choice.int()] * uniform.sign() * torch.log1p(-2 * uniform.abs())
        some.copy_(drawn.round().clamp(-REACH, REACH))
    return symbols, indices if len(scales) > 1 else 0


def same_on_the_cpu(
    symbols: torch.Tensor, indices: torch.Tensor | int, data: torch.Tensor, ends: torch.Tensor, chunk: int, family: Any
) -> bool:
    """Whether some payloads are those of the CPU, and give it these symbols."""
    bounds = ends.tolist()
    for number in np.linspace(0, len(bounds) - 2, CHECKED).astype(int).tolist():
        part = slice(number * chunk, min((number + 1) * chunk, len(symbols)))
        payload = data[bounds[number] : bounds[number + 1]].cpu().numpy().tobytes()
        values = symbols[part].cpu().numpy().astype(np.int32)
        tables = np.zeros(len(values), np.int64) if isinstance(indices, int) else indices[part].cpu().numpy()
        if encode(values, tables, family, lanes=LANES) != payload or not np.array_equal(
            decode(payload, tables, family), values
        ):
            return False
    return True


def cost_of(symbols: torch.Tensor, indices: torch.Tensor | int, family: TableFamily) -> float:
    """Bits a symbol that the tables ask for, what escapes bring with them not counted."""
    total = 0.0
    costs, low, size, starts = (
        torch.from_numpy(array.copy()).to(symbols.device)
        for array in (family.costs, family.low, family.size, family.starts)
    )
    for at in range(0, len(symbols), 1 << 24):
        of = 0 if isinstance(indices, int) else indices[at : at + (1 << 24)].long()
        place = symbols[at : at + (1 << 24)].int() - low[of]
        entry = torch.where((place < 0) | (place >= size[of]), size[of], place)
        total += float(costs[starts[of] + entry].double().sum())
    return total / (1 << 16) / len(symbols)


def measure(scales: np.ndarray, options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    family = TableFamily.from_counts([laplacian(scale) for scale in scales], [-REACH] * len(scales))
    tables = cuda_rans.DeviceTables.upload(family, device)
    symbols, indices = draw(options.symbols, scales, device)
    rows = []
    cost = cost_of(symbols, indices, family)
    for chunk in options.chunks:
        bounds = [*range(0, len(symbols), chunk), len(symbols)]
        in_symbols = torch.tensor(bounds, device=device)
        data, ends = cuda_rans.encode(symbols, in_symbols, indices, tables, lanes=LANES)
        row: dict[str, Any] = {
            "tables": len(scales),
            "chunk": chunk,
            "bits_per_symbol": 8 * data.numel() / len(symbols),
        }
        row["cost_per_symbol"] = cost
        row["exact"] = same_on_the_cpu(symbols, indices, data, ends, chunk, family)
        for dtype in (torch.int32, torch.int8):
            out = torch.empty(len(symbols), dtype=dtype, device=device)
            call = partial(cuda_rans.decode_unchecked, data, ends, in_symbols, indices, tables, out=out)
            row["exact"] &= int(call()[1].max()) == 0 and torch.equal(out, symbols.to(dtype))
            time = milliseconds(captured([call]), options.repeats)
            row[f"decode_{str(dtype).removeprefix('torch.')}_g_per_s"] = len(symbols) / time / 1e6
        row["launch_us"] = microseconds_of_launches(call)
        encoding = partial(cuda_rans.encode, symbols, in_symbols, indices, tables, lanes=LANES)
        row["encode_g_per_s"] = len(symbols) / milliseconds([encoding], min(3, options.repeats)) / 1e6
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=1 << 28)
    parser.add_argument("--chunks", type=int, nargs="+", default=[8192, 16_384, 65_536], help="symbols a chunk")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS / "rans_gpu.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench_rans_gpu: no CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    copy, name = copy_rate(device, options.repeats), torch.cuda.get_device_name(device)
    print(f"{name}: copy {copy:.0f} GB/s, bytes read plus written")
    rows = []
    for scales in (np.array([ONE_SCALE]), SCALES):
        for row in measure(scales, options, device):
            rows.append(row)
            print(
                f"{row['tables']:3d} tables, chunks of {row['chunk']}: int32 {row['decode_int32_g_per_s']:6.1f} G/s, "
                f"int8 {row['decode_int8_g_per_s']:6.1f}, encode {row['encode_g_per_s']:6.1f} G/s, "
                f"{row['bits_per_symbol']:.3f} bits of {row['cost_per_symbol']:.3f}, "
                f"{row['launch_us']:.0f} us a launch, {'exact' if row['exact'] else 'WRONG'}",
                flush=True,
            )
    for count, goal in GOALS.items():
        best = max(row["decode_int32_g_per_s"] for row in rows if row["tables"] == count)
        print(f"goal {goal:.0f} G/s with {count} tables: {'met' if best >= goal else 'missed'}")
    write_json(options.output, {"gpu": name, "copy_gb_per_s": copy, **facts(), "rows": rows})


if __name__ == "__main__":
    main()
