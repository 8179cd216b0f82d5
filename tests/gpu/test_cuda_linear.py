# SPDX-License-Identifier: Apache-2.0
"""Products with compressed matrices on a GPU: those of the weights, always the same, and models that use them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from isthmus import weights
from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.payload import read_payload
from isthmus.kernels.cuda.huffman.linear import MOST, Matrix
from isthmus.kernels.huffman.streams import FRONT, HuffmanStreams
from isthmus.weights.attached.attachment import Attachment
from isthmus.weights.device_streams import plane_bytes, streams_of

pytestmark = pytest.mark.gpu
SHAPES = [(1, 256), (5, 256), (301, 512), (33, 768), (1001, 1024), (8, 2048), (257, 2816), (64, 14_336), (4096, 4096)]


def random_weights(rows: int, columns: int, spread: float = 1.0) -> Tensor:
    """Exponents around another middle in every seventh row."""
    scale = torch.pow(2.0, -3.0 * (torch.arange(rows) % 7 == 0)) * 0.05
    made = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows + columns)) * scale[:, None]
    return (made.sign() * made.abs() ** spread).to(torch.bfloat16)


def coded(matrix: Tensor, device: torch.device) -> tuple[HuffmanStreams, Tensor]:
    payload = read_payload(coding.encode(matrix.view(torch.int16).numpy().view("uint16").reshape(-1)))
    return streams_of(payload).to(device), plane_bytes(payload, 1).to(device)


def close(found: Tensor, x: Tensor, matrix: Tensor, bias: Tensor | None) -> bool:
    """Whether the products are the exact ones but for float32 sums and one rounding to bf16."""
    x, matrix = x.double().cpu(), matrix.double().cpu()
    wanted = x @ matrix.T + (0 if bias is None else bias.double().cpu())
    room = 2.0**-8 * wanted.abs() + 2.0**-20 * (x.abs() @ matrix.abs().T)
    return bool(((found.double().cpu() - wanted).abs() <= room).all())


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize("vectors", [1, 2, 3, 4, 5, 9])
def test_products(rows: int, columns: int, vectors: int, device: torch.device) -> None:
    matrix = random_weights(rows, columns, 2.0 if rows == 1001 else 1.0)
    held = Matrix(*coded(matrix, device), columns)
    x = torch.randn(vectors, columns, device=device).to(torch.bfloat16)
    bias = torch.randn(rows, device=device).to(torch.bfloat16)
    found = held.times(x)
    assert found.shape == (vectors, rows) and found.dtype == torch.bfloat16
    assert close(found, x, matrix, None)
    assert close(held.times(x, bias), x, matrix, bias)
    assert all(torch.equal(held.times(x), found) for _ in range(3))


def test_every_weight_has_its_place(device: torch.device) -> None:
    """One-hot vectors give the columns, bit for bit."""
    matrix = random_weights(70, 1280)
    held = Matrix(*coded(matrix, device), 1280)
    found = held.times(torch.eye(1280, dtype=torch.bfloat16, device=device))
    assert torch.equal(found.T.cpu(), matrix)


def test_shapes_and_places_of_vectors(device: torch.device) -> None:
    matrix = random_weights(70, 512)
    held = Matrix(*coded(matrix, device), 512)
    x = torch.randn(3, 2, 512, device=device).to(torch.bfloat16)
    wanted = held.times(x)
    assert wanted.shape == (3, 2, 70)
    flat = held.times(x.view(6, 512))
    assert torch.equal(wanted.view(6, 70), flat)
    assert torch.equal(held.times(x[2, 1]), held.times(x[2, 1][None])[0])
    assert held.times(x[:0]).shape == (0, 2, 70)
    odd = torch.zeros(6 * 512 + 1, dtype=torch.bfloat16, device=device)[1:].view(6, 512).copy_(x.view(6, 512))
    assert torch.equal(held.times(odd), flat)
    strided = torch.zeros(6, 1024, dtype=torch.bfloat16, device=device)[:, ::2].copy_(x.view(6, 512))
    assert torch.equal(held.times(strided), flat)


def test_infinities_stay_in_their_rows(device: torch.device) -> None:
    matrix = random_weights(100, 512)
    matrix[17, 300], matrix[50, 3] = torch.inf, torch.nan
    found = Matrix(*coded(matrix, device), 512).times(torch.ones(1, 512, dtype=torch.bfloat16, device=device))[0]
    assert found[17] == torch.inf and found[50].isnan()
    rest = torch.ones(100, dtype=torch.bool)
    rest[[17, 50]] = False
    assert found.cpu()[rest].isfinite().all()


def test_no_rows(device: torch.device) -> None:
    streams, rest = coded(random_weights(5, 256), device)
    none = HuffmanStreams(
        0, streams.data, streams.warps[:0], streams.lengths[:0], streams.code_lengths, streams.tables,
        streams.chunk_tables[:0],
    )  # fmt: skip
    assert Matrix(none, rest[:0], 256).times(torch.ones(2, 256, dtype=torch.bfloat16, device=device)).shape == (2, 0)


@pytest.mark.parametrize("seed", range(6))
def test_damage_stays_within_bounds(seed: int, device: torch.device) -> None:
    matrix = random_weights(137, 512)
    streams, rest = coded(matrix, device)
    data, warps = streams.data.clone(), streams.warps.clone()
    data[FRONT:].random_(0, 256)
    if seed % 2:
        warps.random_()
    broken = HuffmanStreams(
        streams.count, data, warps, streams.lengths, streams.code_lengths, streams.tables,
        streams.chunk_tables + seed % 3,
    )  # fmt: skip
    x = torch.ones(1 + seed % MOST, 512, dtype=torch.bfloat16, device=device)
    Matrix(broken, rest, 512).times(x)
    torch.cuda.synchronize(device)
    assert close(Matrix(streams, rest, 512).times(x), x, matrix, None)


def test_wrong_arguments(device: torch.device) -> None:
    streams, rest = coded(random_weights(70, 512), device)
    for columns in (0, 128, 384, 1024 * 70):
        with pytest.raises(ValueError, match="expected whole rows of a multiple of 256"):
            Matrix(streams, rest, columns)
    with pytest.raises(ValueError, match="expected a CUDA device"):
        Matrix(streams.to("cpu"), rest.cpu(), 512)
    held = Matrix(streams, rest, 512)
    x = torch.zeros(1, 512, dtype=torch.bfloat16, device=device)
    for wrong in (x.cpu(), x.float(), x[:, :256], x[0, 0]):
        with pytest.raises(ValueError, match=r"x is .*expected torch\.bfloat16"):
            held.times(wrong)
    with pytest.raises(ValueError, match=r"bias is .*expected torch\.bfloat16 \[70\]"):
        held.times(x, torch.zeros(71, dtype=torch.bfloat16, device=device))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(512), nn.Linear(512, 768), nn.Linear(768, 512, bias=False)
        self.odd = nn.Linear(512, 300)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return x + self.down(torch.relu(self.up(x))) + self.odd(x).sum(-1, keepdim=True) / 300


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(3001, 512), nn.Linear(512, 3001, bias=False)
        self.head.weight = self.embed.weight
        self.layers = nn.ModuleList([Layer() for _ in range(3)])

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def attached(tmp_path: Path, device: torch.device) -> tuple[Model, Model, Attachment]:
    torch.manual_seed(0)
    model = Model().to(torch.bfloat16).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.05)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name != "head.weight"}
    save_file(tensors, tmp_path / "plain.safetensors")
    weights.compress(tmp_path / "plain.safetensors", tmp_path / "a.safetensors")
    other = Model().to(torch.bfloat16).eval()
    attachment = weights.attach(other, tmp_path / "a.safetensors", device=device, fused=True)
    return model.to(device), other, attachment


@torch.no_grad()
def test_a_model(tmp_path: Path, device: torch.device) -> None:
    model, other, attachment = attached(tmp_path, device)
    seen: list[int] = []
    (fused,) = [group for group in attachment._groups if any(p is other.layers[1].up.weight for p in group.params)]
    other.layers[1].norm.register_forward_hook(lambda *_: seen.append(fused._users))
    few, many = torch.tensor([[7], [0], [3000]], device=device), torch.arange(2000, device=device).view(2, 1000)
    wanted, found = model(few), other(few)
    assert {make for _, make in fused.kept[1]} == {Matrix}  # so it was multiplied
    with torch.inference_mode():
        assert torch.equal(found, other(few))
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
    assert torch.equal(found, other(few))
    assert torch.equal(other(many), model(many))  # decoded, so the same bits
    assert seen == [0, 0, 0, 0]
    alone = torch.randn(5, 512, device=device).to(torch.bfloat16)
    assert torch.equal(other.layers[0].up(alone), model.layers[0].up(alone))
    attachment.detach()
    assert torch.equal(other(few), wanted)


@torch.no_grad()
@pytest.mark.parametrize("tokens", [1, 9])
def test_in_a_cuda_graph(tokens: int, tmp_path: Path, device: torch.device) -> None:
    _, other, _ = attached(tmp_path, device)
    ids = torch.arange(tokens, device=device).view(tokens, 1)
    wanted = [other(ids + step) for step in range(3)]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = other(ids)
    for step in range(3):
        graph.replay()
        torch.cuda.synchronize(device)
        assert torch.equal(out, wanted[step])
        assert torch.equal(other(ids), wanted[step])
        ids += 1


@torch.no_grad()
def test_a_model_that_moves(tmp_path: Path, device: torch.device) -> None:
    model, other, _ = attached(tmp_path, device)
    ids = torch.tensor([[1], [2]], device=device)
    first = other(ids)
    assert torch.equal(other.cpu()(ids.cpu()), model.cpu()(ids.cpu()))
    assert torch.equal(other.to(device)(ids), first)
