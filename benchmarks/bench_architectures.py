# SPDX-License-Identifier: Apache-2.0
"""Every architecture of transformers and diffusers: whether a small model, compressed, answers with the same bits.

    python benchmarks/bench_architectures.py [--only llama bert ...] [--dtype bfloat16] [--output FILE.json]

Of each type of model that transformers' auto classes list, and of some classes of diffusers, a small random model is
made, saved by its library, compressed and loaded compressed; every tensor that it puts out is compared bit for bit with
that of the plain folder, loaded by `from_pretrained`. `shared/architectures` says how models and inputs are made. Types
that need another package, or files that are not here, are listed as not built.
"""

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from shared.architectures.diffusion import available
from shared.architectures.model_classes import model_types
from shared.architectures.selection import SELECTION
from shared.architectures.workers import examine_all
from shared.measurement import RESULTS, facts, write_json


def show(row: dict[str, Any], number: int, count: int) -> None:
    about = f"{row['parameters'] / 1e6:5.1f} M of {row['dtype']}" if "parameters" in row else ""
    more = row.get("reason", "")
    if "difference" in row:
        more = f"{more}, by {row['difference']:.2g} at most"
    print(f"{number:3d}/{count} {row['name']:32s} {row['outcome']:14s} {about:22s} {more[:150]}", flush=True)


def versions() -> dict[str, str]:
    import torch
    import transformers

    found = {"torch": torch.__version__, "transformers": transformers.__version__}
    if available():
        import diffusers

        found["diffusers"] = diffusers.__version__
    return found


def main() -> None:
    """Compare, print a line for each and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="types of transformers, classes of diffusers")
    parser.add_argument("--selection", action="store_true", help="only those that the tests compare")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=120, help="seconds that a model may take")
    parser.add_argument("--output", type=Path, default=RESULTS / "architectures.json")
    options = parser.parse_args()
    names = options.only or ([name for name, _ in SELECTION] if options.selection else model_types() + available())
    begin = time.perf_counter()
    rows = []
    for row in examine_all(names, options.dtype, workers=options.workers, limit=options.limit):
        rows.append(row)
        show(row, len(rows), len(names))
    rows.sort(key=lambda row: names.index(row["name"]))
    outcomes = dict(Counter(row["outcome"] for row in rows).most_common())
    seconds = round(time.perf_counter() - begin, 1)
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()), f"in {seconds:.0f} s")
    settings = {"dtype": options.dtype, "workers": options.workers, "limit": options.limit}
    made = {**settings, **facts(), "seconds": seconds, "outcomes": outcomes, "rows": rows}
    made["versions"] = {**made["versions"], **versions()}
    write_json(options.output, made)


if __name__ == "__main__":
    main()
