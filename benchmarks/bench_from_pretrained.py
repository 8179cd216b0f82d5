# SPDX-License-Identifier: Apache-2.0
"""Memory and time to load a folder of transformers, plain and compressed, each in a process of its own.

    python benchmarks/bench_from_pretrained.py [--hidden 2048 --layers 10] [--output FILE.json]

The model is a Llama of random weights made here, 1.2 GB in bf16. Memory is the resident memory of the process at its
highest, mapped files included, above what it was with torch and transformers imported; after loading, and after one
forward of five tokens, which touches every weight. The goal is the compressed bytes, the largest block and 200 MB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from shared.measurement import RESULTS, facts, write_json


def resident(name: str) -> int:
    """A field of /proc/self/status in bytes: VmHWM is the highest resident memory so far, VmRSS that of now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def load(folder: str) -> dict[str, Any]:
    """Loads and runs the model of a folder in this process."""
    import torch
    import transformers

    from isthmus import weights
    from isthmus.weights.huggingface import quantizer

    transformers.logging.set_verbosity_error()
    classes = transformers.AutoModelForCausalLM, transformers.LlamaForCausalLM, quantizer.DFloatQuantizer
    before, begin = resident("VmRSS"), time.perf_counter()
    model = classes[0].from_pretrained(folder, dtype="auto")
    row: dict[str, Any] = {"seconds": time.perf_counter() - begin, "loaded_bytes": resident("VmHWM") - before}
    with torch.inference_mode():
        model(torch.arange(5)[None])
    row["peak_bytes"] = resident("VmHWM") - before
    try:
        report = weights.attachment_of(model).report()
    except KeyError:
        return row
    return row | {"held_bytes": report.held_bytes, "buffer_bytes": report.buffer_bytes}


def make(folder: Path, options: argparse.Namespace) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from isthmus import weights

    config = LlamaConfig(
        hidden_size=options.hidden, intermediate_size=options.hidden * 11 // 4, num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 128, num_key_value_heads=options.hidden // 256, vocab_size=32_000,
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "plain")
    weights.compress(folder / "plain", folder / "compressed")


def main() -> None:
    """Measure, print a line for each folder and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULTS / "from_pretrained.json")
    parser.add_argument("--load", help=argparse.SUPPRESS)  # the folder that this process loads
    options = parser.parse_args()
    if options.load:
        print(json.dumps(load(options.load)))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), options)
        for kind in ("plain", "compressed"):
            command = [sys.executable, __file__, "--load", f"{name}/{kind}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[kind] = row = json.loads(done.stdout)
            print(f"{kind:10s}: loaded in {row['seconds']:.2f} s, {row['peak_bytes'] / 1e6:.0f} MB at most", flush=True)
    made = rows["compressed"]
    goal = made["held_bytes"] + made["buffer_bytes"] + 200e6
    print(f"goal      : {goal / 1e6:.0f} MB, {'met' if made['peak_bytes'] <= goal else 'MISSED'}")
    settings = {"hidden": options.hidden, "layers": options.layers, "goal_bytes": int(goal)}
    write_json(options.output, {**settings, **facts(), "rows": rows})


if __name__ == "__main__":
    main()
