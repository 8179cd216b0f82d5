# SPDX-License-Identifier: Apache-2.0
"""Models of torch.nn for the tests of `attach`, and files of their weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from isthmus import weights

WIDTH = 192  # so that a matrix is not too small to stay compressed


class Layer(nn.Module):
    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Tied(nn.Module):
    """A language model in small: embedding, layers, and a head that is the embedding."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(211, WIDTH)
        self.layers = nn.ModuleList([Layer() for _ in range(layers)])
        self.head = nn.Linear(WIDTH, 211, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor([1.5]))
        self.register_buffer("steps", torch.arange(5), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) * self.scale
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def randomize(model: nn.Module, seed: int) -> None:
    """Other weights, of the spread that trained ones have."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.05
            parameter.copy_(noise.to(parameter.dtype))


def save(model: nn.Module, path: Path, mode: str = "huffman", *, index: bool = False) -> Path:
    """Compresses the model's weights, each once, to `path`."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if isinstance(model, Tied):
        del tensors["head.weight"]
    plain = path.with_suffix(".plain")
    save_file(tensors, plain)
    weights.compress(plain, path, mode=mode, index=index)
    return path


def same_bits(a: Tensor, b: Tensor) -> bool:
    same = a.dtype == b.dtype and a.shape == b.shape
    return same and torch.equal(*(t.reshape(-1).contiguous().view(torch.uint8) for t in (a, b)))
