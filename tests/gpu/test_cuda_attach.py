# SPDX-License-Identifier: Apache-2.0
"""Models on a GPU that run from compressed weights give the outputs of the same weights as they are, bit for bit."""

import copy
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from isthmus import weights
from isthmus.weights.attached.decoding.items import DeviceItem
from isthmus.weights.upstream.write import to_upstream

pytestmark = pytest.mark.gpu


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(3001, 320), nn.Linear(320, 3001, bias=False)
        self.head.weight = self.embed.weight
        self.layers = nn.ModuleList([Layer(320) for _ in range(4)])

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


IDS = torch.tensor([[0, 3000, 17], [5, 6, 7]])


def make(dtype: torch.dtype) -> Model:
    torch.manual_seed(0)
    model = Model().to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.05)
    return model


def plain(model: Model, path: Path) -> Path:
    save_file({name: tensor for name, tensor in model.state_dict().items() if name != "head.weight"}, path)
    return path


def empty(dtype: torch.dtype, device: torch.device | str) -> Model:
    return Model().to(dtype).eval().to(device)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("mode", ["huffman", "rans"])
@pytest.mark.parametrize("offload", [False, True])
def test_the_same_outputs(dtype: torch.dtype, mode: str, offload: bool, tmp_path: Path, device: torch.device) -> None:
    model = make(dtype)
    weights.compress(plain(model, tmp_path / "plain.safetensors"), tmp_path / "a.safetensors", mode=mode)
    other = empty(dtype, device)
    attachment = weights.attach(other, tmp_path / "a.safetensors", offload=offload)
    items = [item for group in attachment._groups for item in group.items]
    assert len(items) == 5 and all(isinstance(item, DeviceItem) for item in items)
    assert {item.streams.device.type for item in items} == {"cpu" if offload else "cuda"}
    model, ids = model.to(device), IDS.to(device)
    with torch.no_grad():
        for _ in range(3):
            assert same_bits(other(ids), model(ids))
    report = attachment.report()
    assert report.held_bytes < report.plain_bytes
    attachment.detach()
    with torch.no_grad():
        assert same_bits(other(ids), model(ids))


def test_an_embedding_decodes_few_rows_or_all(tmp_path: Path, device: torch.device) -> None:
    model = make(torch.bfloat16)
    weights.compress(plain(model, tmp_path / "plain.safetensors"), tmp_path / "a.safetensors")
    other = empty(torch.bfloat16, device)
    attachment = weights.attach(other, tmp_path / "a.safetensors")
    [group] = [group for group in attachment._groups if "embed.weight" in group.items[0].names]
    decoded: list[object] = []
    decode = group.decode
    group.decode = lambda *arguments: (decoded.append(1), decode(*arguments))  # type: ignore[method-assign]
    model, few, all_rows = model.to(device), IDS.to(device), torch.arange(3001, device=device)
    with torch.no_grad():
        assert same_bits(other.embed(few), model.embed(few)) and not decoded
        assert same_bits(other.embed(all_rows), model.embed(all_rows)) and len(decoded) == 1


def test_a_model_that_moves(tmp_path: Path, device: torch.device) -> None:
    model = make(torch.bfloat16)
    weights.compress(plain(model, tmp_path / "plain.safetensors"), tmp_path / "a.safetensors")
    other = empty(torch.bfloat16, "cpu")
    weights.attach(other, tmp_path / "a.safetensors")
    with torch.no_grad():
        for where in ("cpu", device, "cpu", device):
            assert same_bits(other.to(where)(IDS.to(where)), copy.deepcopy(model).to(where)(IDS.to(where)))


def test_layers_on_two_devices(tmp_path: Path, device: torch.device) -> None:
    model = make(torch.bfloat16)
    weights.compress(plain(model, tmp_path / "plain.safetensors"), tmp_path / "a.safetensors")
    with torch.device("meta"):
        other = Model().to(torch.bfloat16).eval()
    places = {"": "cpu", "layers.1": device, "layers.2": device, "layers.3": "cpu", "head": "cpu"}
    weights.attach(other, tmp_path / "a.safetensors", device=places)
    with torch.no_grad():
        wanted = model.embed(IDS)
        for layer, where in zip(model.layers, ("cpu", device, device, "cpu"), strict=True):
            wanted = copy.deepcopy(layer).to(where)(wanted.to(where))
        assert same_bits(other(IDS), model.head(wanted))


def test_a_dfloat11_folder(tmp_path: Path, device: torch.device) -> None:
    model = make(torch.bfloat16)
    patterns = {"embed": [], r"layers\.\d+": ["up", "down"]}
    (tmp_path / "plain").mkdir()
    plain(model, tmp_path / "plain" / "model.safetensors")
    to_upstream(tmp_path / "plain", tmp_path / "df11", patterns)
    other = empty(torch.bfloat16, device)
    weights.attach(other, tmp_path / "df11")
    with torch.no_grad():
        assert same_bits(other(IDS.to(device)), model.to(device)(IDS.to(device)))


def test_two_threads_on_streams_of_their_own(tmp_path: Path, device: torch.device) -> None:
    """Buffers pass from one stream to the other; each must wait for what the other was told to do with them."""
    model = make(torch.bfloat16)
    weights.compress(plain(model, tmp_path / "plain.safetensors"), tmp_path / "a.safetensors")
    other = empty(torch.bfloat16, device)
    weights.attach(other, tmp_path / "a.safetensors")
    ids = IDS.to(device).repeat(200, 1)
    model = model.to(device)
    with torch.no_grad():
        wanted = model(ids)
    found: list[Tensor] = []

    def work() -> None:
        with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream(device)):
            mine = [other(ids) for _ in range(20)]
            torch.cuda.current_stream(device).synchronize()
            found.extend(mine)

    torch.cuda.synchronize(device)
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 40 and all(same_bits(one, wanted) for one in found)
