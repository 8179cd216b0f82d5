# SPDX-License-Identifier: Apache-2.0
"""A transformer that runs from compressed weights beside the same one from plain bf16: time a token, and memory.

    python benchmarks/bench_attach.py [--batches 1 16] [--device cpu] [--hidden 1024 --layers 8] [--output FILE.json]

The model is a Llama of random weights made here. All generate in turn, greedily; beside the milliseconds a token stand
those of one forward of all prompts of the batch and, on a GPU, of a forward of one token each in a CUDA graph, where
Python does not count. On a GPU there is a third model, attached with `fused=True`. Tokens and logits of plain and
attached are compared bit for bit, with torch's own operations for attention, since cuDNN's do not repeat themselves;
the distance of fused ones is the root of the mean square of their difference from plain logits, over that of these, and
stands beside that of plain ones computed in a batch 16 times as large, where cuBLAS adds in another order too.
"""

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from bench_weights_gpu import milliseconds
from safetensors.torch import save_file
from shared.measurement import RESULTS, facts, write_json
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus import weights


def make_model(options: argparse.Namespace) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=options.hidden, intermediate_size=options.hidden * 11 // 4, num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64, num_key_value_heads=options.hidden // 128,
        vocab_size=options.vocabulary, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device(options.device):
        return LlamaForCausalLM(config).to(torch.bfloat16).eval()


def generate(model: Any, ids: torch.Tensor, tokens: int) -> tuple[float, torch.Tensor]:
    """Seconds a token, and the tokens."""
    with torch.inference_mode():
        begin = time.perf_counter()
        found = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0,
            eos_token_id=None,
        ).cpu()  # fmt: skip
    return (time.perf_counter() - begin) / tokens, found


def forward(model: Any, ids: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Seconds of a forward without a cache, and the last logits."""
    with torch.inference_mode():
        begin = time.perf_counter()
        found = model(ids, use_cache=False, logits_to_keep=1).logits.cpu()
    return time.perf_counter() - begin, found


def graph(model: Any, ids: torch.Tensor, repeats: int) -> float:
    """Milliseconds of a forward of the first token of each prompt, replayed."""
    first = ids[:, :1].contiguous()
    with torch.inference_mode():
        side = torch.cuda.Stream(ids.device)
        side.wait_stream(torch.cuda.current_stream(ids.device))
        with torch.cuda.stream(side):
            for _ in range(3):
                model(first, use_cache=False)
        torch.cuda.current_stream(ids.device).wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            model(first, use_cache=False)
    return milliseconds([captured.replay], repeats)


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.float() - wanted.float()).square().mean().sqrt() / wanted.float().square().mean().sqrt())


def compare(models: dict[str, Any], batch: int, options: argparse.Namespace) -> dict[str, Any]:
    shape = batch, options.prompt
    ids = torch.randint(3, options.vocabulary, shape, generator=torch.Generator().manual_seed(batch)).to(options.device)
    with sdpa_kernel(SDPBackend.MATH):
        tokens = {name: generate(model, ids, options.tokens)[1] for name, model in models.items()}
        logits = {name: forward(model, ids)[1] for name, model in models.items()}
    row: dict[str, Any] = {"batch": batch}
    row["same"] = all(torch.equal(found["plain"], found["attached"]) for found in (tokens, logits))
    seconds: dict[str, list[float]] = {}
    for repeat in range(options.repeats + 1):
        for name, model in models.items():
            for what, taken in (
                ("", generate(model, ids, options.tokens)[0]),
                ("_forward", forward(model, ids)[0]),
            ):
                if repeat:
                    seconds.setdefault(f"{name}{what}_ms", []).append(1e3 * taken)
    row |= {name: statistics.median(taken) for name, taken in seconds.items()}
    if "fused" in models:
        first = ids[:, :1].contiguous()
        wanted = forward(models["plain"], first)[1]
        row["fused_distance"] = distance(forward(models["fused"], first)[1], wanted)
        row["plain_distance"] = distance(forward(models["plain"], first.repeat(16, 1))[1][:batch], wanted)
        row |= {f"{name}_graph_ms": graph(model, ids, options.repeats) for name, model in models.items()}
    return row


def show(row: dict[str, Any], names: list[str]) -> None:
    for what, title in (("", "a token"), ("_forward", "a forward of the prompts"), ("_graph", "a token in a graph")):
        times = {name: row.get(f"{name}{what}_ms", 0.0) for name in names}
        if all(times.values()):
            each = (f"{name} {taken:8.2f} ms, {taken / times['plain']:.2f} times" for name, taken in times.items())
            print(f"batch {row['batch']:3d}, {title:24s}: {'; '.join(each)}")
    print(
        f"batch {row['batch']:3d}, plain and attached: {'the same bits' if row['same'] else 'OTHER BITS'}", flush=True
    )
    if "fused_distance" in row:
        print(f"batch {row['batch']:3d}, distance from plain    : fused {row['fused_distance']:.1e}, "
              f"plain in a larger batch {row['plain_distance']:.1e}", flush=True)  # fmt: skip


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--prompt", type=int, default=16, help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--offload", action="store_true", help="keep compressed bytes in the CPU's memory")
    parser.add_argument("--output", type=Path, default=RESULTS / "attach.json")
    options = parser.parse_args()
    model = make_model(options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path / "plain.safetensors")
        weights.compress(path / "plain.safetensors", path / "model.safetensors")
        models, attachments = {"plain": model}, {}
        for name in ["attached"] + ["fused"] * (options.device != "cpu" and not options.offload):
            models[name] = copy.deepcopy(model)
            attachments[name] = weights.attach(
                models[name], path / "model.safetensors", device=options.device, offload=options.offload,
                fused=name == "fused",
            )  # fmt: skip
            attachments[name].report()  # compiles
        report = attachments["attached"].report()
        print(
            f"{report.plain_bytes / 1e6:.0f} MB of weights in {report.held_bytes / 1e6:.0f} MB and a buffer of "
            f"{report.buffer_bytes / 1e6:.0f} MB; decoded at {report.gigabytes_per_second:.2f} GB/s"
        )
        rows = []
        for batch in options.batches:
            rows.append(compare(models, batch, options))
            show(rows[-1], list(models))
    settings = {name: value for name, value in vars(options).items() if name != "output"}
    if options.device != "cpu":
        settings["gpu"] = torch.cuda.get_device_name(torch.device(options.device))
    settings["torch_threads"] = torch.get_num_threads()
    write_json(options.output, {**settings, **facts(), "report": vars(report), "rows": rows})


if __name__ == "__main__":
    main()
