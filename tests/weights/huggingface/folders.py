# SPDX-License-Identifier: Apache-2.0
"""Small models of transformers as it saves them, and the same folders compressed."""

from pathlib import Path
from typing import Any

import torch
import transformers as T
from torch import Tensor

from isthmus import weights

SIZE = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
IDS = torch.arange(3, 15)[None]


def llama(**more: Any) -> Any:
    return T.LlamaConfig(**SIZE, vocab_size=512, **more)


def make(config: Any, auto: Any = T.AutoModelForCausalLM, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A model of random weights; as `from_config` with a dtype, which transformers 4 knows by another name."""
    kept = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return auto.from_config(config).eval()
    finally:
        torch.set_default_dtype(kept)


def save(
    config: Any, folder: Path, auto: Any = T.AutoModelForCausalLM, dtype: torch.dtype = torch.bfloat16
) -> tuple[Path, Path]:
    """A folder as transformers saves it, and its compressed form."""
    torch.manual_seed(0)
    make(config, auto, dtype).save_pretrained(folder / "plain")
    weights.compress(folder / "plain", folder / "df")
    return folder / "plain", folder / "df"


@torch.no_grad()
def answer(model: Any, **inputs: Any) -> Tensor:
    found = model(**(inputs or {"input_ids": IDS}))
    return found.logits if "logits" in found else found.last_hidden_state
