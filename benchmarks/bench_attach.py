# SPDX-License-Identifier: Apache-2.0
"""A transformer that runs from compressed weights beside the same one from plain bf16: time a token, and memory.

    python benchmarks/bench_attach.py [--batches 1 16] [--device cpu] [--hidden 1024 --layers 8] [--output FILE.json]

The model is a Llama of random weights made here. Both generate in turn, greedily. Beside the milliseconds a token stand
those of one forward of all prompts of the batch. Tokens and logits are compared, bit for bit: of both, and of repeats.
"""

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measurement import RESULTS, facts, write_json
from safetensors.torch import save_file

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


def compare(plain: Any, attached: Any, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    shape = batch, options.prompt
    ids = torch.randint(3, options.vocabulary, shape, generator=torch.Generator().manual_seed(batch)).to(options.device)
    seconds: dict[str, list[float]] = {}
    found: dict[str, list[torch.Tensor]] = {}
    for repeat in range(options.repeats + 1):
        for name, model in (("plain", plain), ("attached", attached)):
            for what, (taken, result) in (
                ("", generate(model, ids, options.tokens)),
                ("_forward", forward(model, ids)),
            ):
                found.setdefault(f"{name}{what}", []).append(result)
                if repeat:
                    seconds.setdefault(f"{name}{what}_ms", []).append(1e3 * taken)
    row: dict[str, Any] = {"batch": batch, **{name: statistics.median(taken) for name, taken in seconds.items()}}
    for what in ("", "_forward"):
        row[f"ratio{what}"] = row[f"attached{what}_ms"] / row[f"plain{what}_ms"]
    # Where plain weights do not even repeat themselves, nothing follows for the attached ones.
    row["plain_repeats_itself"] = all(same(found[f"plain{what}"]) for what in ("", "_forward"))
    row["same"] = all(same([*found[f"plain{what}"], *found[f"attached{what}"]]) for what in ("", "_forward"))
    return row


def same(tensors: list[torch.Tensor]) -> bool:
    return all(torch.equal(tensors[0], other) for other in tensors)


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
        attached, plain = copy.deepcopy(model), model
        attachment = weights.attach(
            attached, path / "model.safetensors", device=options.device, offload=options.offload
        )
        attachment.report()  # compiles
        report = attachment.report()
        print(
            f"{report.plain_bytes / 1e6:.0f} MB of weights in {report.held_bytes / 1e6:.0f} MB and a buffer of "
            f"{report.buffer_bytes / 1e6:.0f} MB; decoded at {report.gigabytes_per_second:.2f} GB/s"
        )
        rows = []
        for batch in options.batches:
            row = compare(plain, attached, batch, options)
            rows.append(row)
            print(f"batch {batch:3d}: plain {row['plain_ms']:8.2f} ms a token, attached {row['attached_ms']:8.2f} ms, "
                  f"{row['ratio']:.2f} times; forward {row['plain_forward_ms']:8.2f} and "
                  f"{row['attached_forward_ms']:8.2f} ms, {row['ratio_forward']:.2f} times; "
                  f"{'the same bits' if row['same'] else 'OTHER BITS'}"
                  f"{'' if row['plain_repeats_itself'] else ', but plain does not repeat itself either'}",
                  flush=True)  # fmt: skip
    settings = {name: value for name, value in vars(options).items() if name != "output"}
    if options.device != "cpu":
        settings["gpu"] = torch.cuda.get_device_name(torch.device(options.device))
    settings["torch_threads"] = torch.get_num_threads()
    write_json(options.output, {**settings, **facts(), "report": vars(report), "rows": rows})


if __name__ == "__main__":
    main()
