# SPDX-License-Identifier: Apache-2.0
"""What a weight decay is for: weights of layers, and nothing else."""

import torch
from torch import nn

from isthmus.models.heads import build_head
from isthmus.optim.decay import decayed
from tests.models.test_heads import about


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.class_token, self.pos_embedding = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(1, 5, 8))
        self.patches, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm([8, 2])
        self.attention, self.out, self.table = nn.MultiheadAttention(8, 2), nn.Linear(8, 2), nn.Embedding(4, 8)


def test_tokens_and_tables_do_not_decay() -> None:
    model = Net()
    names = {id(p): name for name, p in model.named_parameters()}
    own, others = ([names[id(p)] for p in part] for part in decayed(model))
    assert own == ["patches.weight", "attention.in_proj_weight", "attention.out_proj.weight", "out.weight"]
    assert {"class_token", "pos_embedding", "norm.weight", "table.weight", "out.bias"} < set(others)
    assert len(own) + len(others) == len(names)
    assert [names[id(p)] for part in decayed(model, "out") for p in part] == ["out.weight", "out.bias"]


def test_heads_of_ours_decay_as_before() -> None:
    for name in ("convnext-s", "sound-s", "vit-s", "dense-s", "clip-s"):
        with torch.device("meta"):
            model = build_head(name, about(1 if name == "sound-s" else 2), 3)
        own, others = decayed(model)
        assert [id(p) for p in own] == [id(p) for p in model.parameters() if p.ndim > 1]
        assert [id(p) for p in others] == [id(p) for p in model.parameters() if p.ndim < 2]
