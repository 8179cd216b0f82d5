# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/dfloat11-upstream with the dfloat11 package itself, whose encoder needs no GPU.

    pip install --target PEERS --no-deps dfloat11==0.5.0 dahuffman==0.4.2
    python tools/make_dfloat11_golden.py PEERS tests/golden/dfloat11-upstream

The package imports cupy and accelerate for its GPU side alone; empty modules stand in for them. The weights are seeded
random numbers.
"""

import hashlib
import json
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import nn

PATTERNS = {"embed": [], "head": [], r"layers\.\d+": ["attention.q", "attention.k", "up"]}
SPREADS = {"embed.weight": 0.02, "head.weight": 1e-30}  # the smallest exponents; the layers have the widest range


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(48, 80, bias=False), nn.Linear(48, 16, bias=False)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.up, self.norm = Attention(), nn.Linear(48, 150), nn.LayerNorm(48)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(401, 48), nn.Linear(48, 33, bias=False)
        self.layers = nn.ModuleList([Layer(), Layer()])


def load_peer(folder: str) -> types.ModuleType:
    sys.path.append(folder)
    for name in ("cupy", "accelerate", "accelerate.utils", "pkg_resources", "huggingface_hub"):
        sys.modules.setdefault(name, MagicMock())
    import dfloat11.dfloat11

    return dfloat11.dfloat11


def random_model() -> Model:
    model = Model().to(torch.bfloat16)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            spread = torch.randn(parameter.shape, generator=generator).mul(6).exp() if "layers" in name else 1.0
            parameter.copy_(noise * spread * SPREADS.get(name, 0.02))
        model.layers[0].up.weight[0, :4] = torch.tensor([0.0, -0.0, 1e-40, -1e33])
    return model


def main(peers: str, destination: str) -> None:
    model = random_model()
    weights = {name: tensor.view(torch.int16).numpy() for name, tensor in model.state_dict().items()}
    hashes = {name: hashlib.sha256(bits.tobytes()).hexdigest() for name, bits in sorted(weights.items())}
    load_peer(peers).compress_model(model, PATTERNS, destination, save_single_file=False, check_correctness=False)
    Path(destination, "sha256.json").write_text(json.dumps(hashes, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3 or "--help" in sys.argv:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
