# SPDX-License-Identifier: Apache-2.0
"""peft and accelerate on models whose weights are compressed."""

from pathlib import Path
from typing import Any

import accelerate
import peft
import pytest
import torch
import transformers as T

from isthmus import weights
from isthmus.weights.attached.tensors.tensor import CompressedTensor
from tests.weights.attached.small_models import same_bits
from tests.weights.huggingface.folders import IDS, answer, llama, make, save

pytestmark = pytest.mark.filterwarnings("ignore")
AUTO = T.AutoModelForCausalLM
CPU = torch.device("cpu")


def trained(folder: Path, *, checkpointing: bool = False) -> tuple[Any, list[float]]:
    """A model with an adapter after some steps, and their losses."""
    model = AUTO.from_pretrained(folder, dtype="auto")
    torch.manual_seed(0)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj", "down_proj"])
    tuned = peft.get_peft_model(model, config)
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for _ in range(4):
        loss = tuned.train()(IDS, labels=IDS, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return tuned.eval(), losses


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_adapter_is_trained_saved_and_loaded(checkpointing: bool, tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    (wanted, losses), (found, same) = (trained(folder, checkpointing=checkpointing) for folder in (plain, df))
    assert losses == same and losses[-1] < losses[0]
    found.save_pretrained(tmp_path / "adapter")
    loaded = peft.PeftModel.from_pretrained(AUTO.from_pretrained(df, dtype="auto"), tmp_path / "adapter").eval()
    assert same_bits(answer(loaded), answer(wanted))
    assert sum(isinstance(p, CompressedTensor) for p in loaded.parameters()) == 16


def test_merging_an_adapter(tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    (wanted, _), (found, _) = (trained(folder) for folder in (plain, df))
    before = answer(found)
    for merge in (found.merge_adapter, found.merge_and_unload):
        with pytest.raises(RuntimeError, match=r"q_proj.*compressed and cannot be written to .*merged.*detach\(\)"):
            merge()
    assert same_bits(answer(found), before)
    weights.attachment_of(found.base_model.model).detach()
    assert same_bits(answer(found.merge_and_unload()), answer(wanted.merge_and_unload()))


def test_an_adapter_for_another_model(tmp_path: Path) -> None:
    _, df = save(llama(), tmp_path)
    other = AUTO.from_config(T.LlamaConfig(**{**llama().to_dict(), "hidden_size": 128}))
    peft.get_peft_model(other, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    with pytest.raises(RuntimeError, match="size mismatch"):
        peft.PeftModel.from_pretrained(AUTO.from_pretrained(df, dtype="auto"), tmp_path / "adapter")


OFFLOADED = {
    "device_map": lambda df, folder: AUTO.from_pretrained(df, dtype="auto", device_map="auto"),
    "map of modules": lambda df, folder: AUTO.from_pretrained(
        df, dtype="auto", device_map={"model": "cpu", "lm_head": "cpu"}
    ),
    "cpu_offload": lambda df, folder: accelerate.cpu_offload(AUTO.from_pretrained(df, dtype="auto"), CPU),
    "disk_offload": lambda df, folder: accelerate.disk_offload(AUTO.from_pretrained(df, dtype="auto"), folder, CPU),
    "after": lambda df, folder: accelerate.dispatch_model(
        AUTO.from_pretrained(df, dtype="auto"), {"model": "cpu", "lm_head": "cpu"}, main_device="cpu", force_hooks=True
    ),
    "prepare": lambda df, folder: accelerate.Accelerator(cpu=True).prepare(AUTO.from_pretrained(df, dtype="auto")),
}


@pytest.mark.parametrize("how", OFFLOADED)
@pytest.mark.parametrize("tied", [False, True])
def test_where_accelerate_puts_a_model(how: str, tied: bool, tmp_path: Path) -> None:
    plain, df = save(llama(tie_word_embeddings=tied), tmp_path)
    model = OFFLOADED[how](df, str(tmp_path / "offloaded"))
    for _ in range(2):
        assert same_bits(answer(model), answer(AUTO.from_pretrained(plain, dtype="auto")))


def test_a_model_that_accelerate_has_placed_already(tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    model = make(llama())
    accelerate.dispatch_model(model, {"model": "cpu", "lm_head": "cpu"}, main_device="cpu", force_hooks=True)
    weights.attach(model, df)
    assert same_bits(answer(model), answer(AUTO.from_pretrained(plain, dtype="auto")))
    with accelerate.init_empty_weights():
        empty = make(llama())
    weights.attach(empty, df)
    assert same_bits(answer(empty), answer(AUTO.from_pretrained(plain, dtype="auto")))
