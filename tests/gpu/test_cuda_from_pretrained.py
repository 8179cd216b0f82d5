# SPDX-License-Identifier: Apache-2.0
"""Compressed folders of transformers on a GPU: the bits of the plain folder there, wherever parts of the model are."""

from pathlib import Path

import pytest
import torch
import transformers as T

from isthmus import weights
from isthmus.weights.attached.tensors.tensor import CompressedTensor
from tests.weights.attached.small_models import same_bits
from tests.weights.huggingface.folders import IDS, llama, save

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]
AUTO = T.AutoModelForCausalLM
MOE = {"num_key_value_heads": 2, "num_local_experts": 4, "hidden_size": 256, "intermediate_size": 512,
       "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 512}  # fmt: skip
MAPS = {
    "cuda": "cuda",
    "number": {"": 0},
    "auto": "auto",
    "parts": {"model.embed_tokens": 0, "model.layers.0": "cpu", "model.layers.1": 0, "model.norm": 0,
              "model.rotary_emb": 0, "lm_head": 0},
}  # fmt: skip


@torch.no_grad()
def logits(model, ids: torch.Tensor) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return model(ids).logits


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
@pytest.mark.parametrize("where", MAPS)
def test_maps_of_devices(kind: str, where: str, tmp_path: Path, device: torch.device) -> None:
    config = llama() if kind == "llama" else T.MixtralConfig(**MOE)
    plain, df = save(config, tmp_path)
    ids = IDS.to(device)
    found = weights.from_pretrained(df, AUTO, dtype="auto", device_map=MAPS[where])
    assert sum(isinstance(p, CompressedTensor) for p in found.parameters()) > (5 if where == "parts" else 13)
    wanted = AUTO.from_pretrained(plain, dtype="auto", device_map=MAPS[where])
    for _ in range(2):
        assert same_bits(logits(found, ids), logits(wanted, ids))
    report = weights.attachment_of(found).report()
    assert report.held_bytes < 0.95 * report.plain_bytes
    if where != "parts":
        assert {p.device for p in found.parameters()} == {device}


def test_moved_after_loading_offloaded_and_in_another_dtype(tmp_path: Path, device: torch.device) -> None:
    plain, df = save(llama(), tmp_path)
    ids = IDS.to(device)
    wanted = AUTO.from_pretrained(plain, dtype="auto").to(device)
    moved = weights.from_pretrained(df, AUTO, dtype="auto").to(device)
    offloaded = weights.from_pretrained(df, AUTO, dtype="auto", device_map="cuda", offload=True)
    for found in (moved, offloaded):
        assert same_bits(logits(found, ids), logits(wanted, ids))
    half = AUTO.from_pretrained(df, dtype=torch.float16, device_map="cuda")
    assert same_bits(logits(half, ids), logits(AUTO.from_pretrained(plain, dtype=torch.float16).to(device), ids))


def test_gradients_and_compiled_models(tmp_path: Path, device: torch.device) -> None:
    plain, df = save(llama(), tmp_path)
    models = [AUTO.from_pretrained(folder, dtype="auto", device_map="cuda") for folder in (plain, df)]
    grads = []
    for model in models:
        given = model.get_input_embeddings()(IDS.to(device)).detach().requires_grad_()
        model(inputs_embeds=given).logits.float().square().sum().backward()
        grads.append(given.grad)
    assert same_bits(*grads)
    torch._dynamo.reset()
    found = [logits(torch.compile(model, backend="aot_eager"), IDS.to(device)) for model in models]
    assert same_bits(*found)
    torch._dynamo.reset()
