# SPDX-License-Identifier: Apache-2.0
"""transformers models, made here with random weights, generate the same tokens from compressed weights."""

import copy
import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from isthmus import weights
from isthmus.weights import attach
from isthmus.weights.upstream.write import to_upstream
from tests.weights.attached.small_models import randomize, same_bits

pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = {"hidden_size": 192, "intermediate_size": 320, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 300}  # fmt: skip
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SIZE, tie_word_embeddings=False),
    "llama, tied": lambda: transformers.LlamaConfig(**SIZE, tie_word_embeddings=True),
    "qwen3": lambda: transformers.Qwen3Config(**SIZE, head_dim=48),
    "gemma2": lambda: transformers.Gemma2Config(**SIZE, head_dim=48, sliding_window=8),
    "gpt2": lambda: transformers.GPT2Config(n_embd=192, n_layer=3, n_head=4, vocab_size=300, n_positions=64),
    "mixtral": lambda: transformers.MixtralConfig(**SIZE, num_local_experts=4),
}


def make(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name](), dtype=torch.bfloat16).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * 0.02  # a fresh norm is all ones
    return model


def plain_file(model: torch.nn.Module, path: Path) -> Path:
    """What the model needs, each tensor once, under the names that the model gives them."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            tensors[name] = tensor.detach().contiguous()
            seen.add(id(tensor))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def tokens(model: torch.nn.Module, batch: int) -> torch.Tensor:
    ids = torch.randint(3, 300, (batch, 6), generator=torch.Generator().manual_seed(batch))
    return model.generate(  # type: ignore[operator]
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False, pad_token_id=0, eos_token_id=None
    )


def other_weights(model: torch.nn.Module) -> torch.nn.Module:
    other = copy.deepcopy(model)
    randomize(other, 5)
    return other


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_tokens(name: str, tmp_path: Path) -> None:
    model = make(name)
    weights.compress(plain_file(model, tmp_path / "plain.safetensors"), tmp_path / "a.safetensors")
    other = other_weights(model)
    attachment = attach(other, tmp_path / "a.safetensors")
    for batch in (1, 3):
        assert not torch.equal(tokens(other_weights(model), batch), tokens(model, batch))
        assert torch.equal(tokens(other, batch), tokens(model, batch))
    ids = torch.arange(3, 20)[None]
    with torch.inference_mode():
        assert same_bits(other(ids).logits, model(ids).logits)
    report = attachment.report()
    assert report.held_bytes < 0.75 * report.plain_bytes
    assert report.buffer_bytes < 0.5 * report.plain_bytes
    assert report.other_bytes < 0.15 * report.plain_bytes  # here even keys and values are too small to be worth it


def test_a_folder_as_it_is_saved_onto_the_meta_device(tmp_path: Path) -> None:
    model = make("llama, tied")
    model.save_pretrained(tmp_path / "plain", max_shard_size="500KB")
    assert len(list((tmp_path / "plain").glob("*.safetensors"))) > 1
    weights.compress(tmp_path / "plain", tmp_path / "made")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "made")
    with torch.device("meta"):
        other = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    other.model.rotary_emb = copy.deepcopy(model.model.rotary_emb)
    assert other.lm_head.weight is other.model.embed_tokens.weight
    attachment = attach(other, tmp_path / "made", device="cpu")
    assert attachment.unused == ()
    assert torch.equal(tokens(other, 2), tokens(model, 2))
    assert other.lm_head.weight is other.model.embed_tokens.weight
    attachment.detach()
    assert torch.equal(tokens(other, 2), tokens(model, 2))


def test_a_dfloat11_folder(tmp_path: Path) -> None:
    model = make("llama")
    plain_file(model, tmp_path / "plain" / "model.safetensors")
    (tmp_path / "plain" / "config.json").write_text(json.dumps(model.config.to_dict()))
    parts = [f"self_attn.{p}_proj" for p in "qkvo"] + [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
    patterns = {r"model\.embed_tokens": [], "lm_head": [], r"model\.layers\.\d+": parts}
    report = to_upstream(tmp_path / "plain", tmp_path / "df11", patterns)
    assert len(report.compressed) == 5
    other = other_weights(model)
    attachment = attach(other, tmp_path / "df11")
    for batch in (1, 3):
        assert torch.equal(tokens(other, batch), tokens(model, batch))
    assert attachment.report().tensors == 2 + 3 * 7
    tensors: dict[str, torch.Tensor] = {}
    for path in (tmp_path / "df11").glob("*.safetensors"):
        tensors |= load_file(path)
    save_file(tensors, tmp_path / "one.safetensors")
    again = other_weights(model)
    attach(again, tmp_path / "one.safetensors", patterns=patterns)
    assert torch.equal(tokens(again, 2), tokens(model, 2))
    narrow = transformers.LlamaConfig(**SIZE | {"intermediate_size": 256}, tie_word_embeddings=False)
    with pytest.raises(Exception, match=r"model.layers.0: model.layers.0.mlp.gate_proj.weight has 61440 weights"):
        attach(transformers.LlamaForCausalLM(narrow).bfloat16(), tmp_path / "df11")
