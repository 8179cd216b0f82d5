# SPDX-License-Identifier: Apache-2.0
"""Models of torch.nn that run from compressed weights: the same outputs, never the wrong weights, clear errors."""

import copy
import threading
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from isthmus import weights
from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.payload import read_payload
from isthmus.errors import CorruptStreamError, UnreadableFileError, WeightsMismatchError
from isthmus.weights import Attachment, attach
from isthmus.weights.attached.decoding import group
from isthmus.weights.attached.decoding.items import DeviceItem, Item, PayloadItem
from isthmus.weights.attached.decoding.move import for_device, join_items
from isthmus.weights.attached.tensors.tensor import CompressedTensor
from tests.weights.attached.small_models import WIDTH, Layer, Tied, randomize, same_bits, save

IDS = torch.tensor([[3, 200, 0, 7], [5, 6, 7, 210]])


def pair(model: nn.Module, dtype: torch.dtype = torch.bfloat16) -> tuple[nn.Module, nn.Module]:
    """The model with some weights, and another with others."""
    model = model.to(dtype).eval()
    other = copy.deepcopy(model)
    randomize(model, 1)
    randomize(other, 2)
    return model, other


@pytest.fixture(autouse=True)
def no_gradients():  # type: ignore[no-untyped-def]
    with torch.no_grad():
        yield


def on_devices(monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """Items as devices take them, but on the CPU; returns what was made."""
    made: list[Item] = []

    def settle(items: list[Item], slots: list[list[object]], *_: object, threads: int, **__: object) -> object:
        found, theirs = join_items([for_device(item, threads) for item in items], slots)
        made.extend(found)
        return found, theirs

    monkeypatch.setattr(group, "settle", settle)
    return made


@pytest.mark.parametrize("mode", ["huffman", "rans"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("as_device", [False, True])
def test_the_same_outputs(
    mode: str, dtype: torch.dtype, as_device: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, other = pair(Tied(), dtype)
    made = on_devices(monkeypatch) if as_device else []
    attachment = attach(other, save(model, tmp_path / "a.safetensors", mode, index=mode == "huffman"))
    for _ in range(3):
        assert same_bits(other(IDS), model(IDS))
    assert all(isinstance(item, DeviceItem) for item in made) and len(made) == (4 if as_device else 0)
    attachment.detach()
    assert same_bits(other(IDS), model(IDS))
    assert other.head.weight is other.embed.weight
    for name, tensor in model.state_dict().items():
        assert same_bits(other.state_dict()[name], tensor)


def test_what_is_held(tmp_path: Path) -> None:
    model, other = pair(Tied())
    attachment = attach(other, save(model, tmp_path / "a.safetensors"))
    assert weights.attachment_of(other) is attachment
    compressed = [p for p in other.parameters() if isinstance(p, CompressedTensor)]
    assert len(compressed) == 7 and len(list(other.parameters())) == 16
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in other.parameters())
    other(IDS)
    report = attachment.report()
    assert report.tensors == 7
    assert report.plain_bytes == 2 * (6 * 2 * WIDTH * WIDTH + 211 * WIDTH)
    assert 0.6 < report.held_bytes / report.plain_bytes < 0.8
    layer = 2 * 2 * 2 * WIDTH * WIDTH
    assert report.buffer_bytes == layer  # one, for the layers and the embedding
    kept = [t for t in (*other.parameters(), *other.buffers()) if not isinstance(t, CompressedTensor)]
    assert report.other_bytes == sum(t.nbytes for t in kept) < 12_000
    assert report.unused == report.missing == ()
    assert report.seconds > 0 and report.gigabytes_per_second == report.plain_bytes / report.seconds / 1e9


def test_a_model_on_the_meta_device(tmp_path: Path) -> None:
    model, _ = pair(Tied())
    path = save(model, tmp_path / "a.safetensors")
    with torch.device("meta"):
        other = Tied().to(torch.bfloat16).eval()
    with pytest.raises(ValueError, match="buffer .steps is on the meta device and no file holds it"):
        attach(other, path)
    assert all(p.is_meta for p in other.parameters())
    other.steps = torch.arange(5)
    attach(other, path)
    assert same_bits(other(IDS), model(IDS))
    assert {p.device.type for p in other.parameters()} == {"cpu"}


class Nested(nn.Module):
    """A layer that runs others between two uses of its own weights, and then itself on something smaller."""

    def __init__(self, below: nn.Module) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.below = nn.ModuleList([below, below])

    def forward(self, x: Tensor, again: bool = True) -> Tensor:
        x = self.first(x)
        for module in self.below:
            x = module(x)
        if again:
            x = x + self(x[:1], again=False)
        return self.last(x)


@pytest.mark.parametrize("blocks", [None, [], ["layers.0", "layers.0.below.0"], [""], ["layers.1.last"]])
def test_blocks_within_blocks(blocks: list[str] | None, tmp_path: Path) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shared = Layer()
            self.layers = nn.ModuleList([Nested(shared), Nested(Layer()), Nested(shared)])

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    model, other = pair(Outer())
    tensors = {name: tensor for name, tensor in model.state_dict().items()
               if not name.startswith("layers.2.below") and ".below.1" not in name}  # fmt: skip
    save_file(tensors, tmp_path / "plain.safetensors")
    weights.compress(tmp_path / "plain.safetensors", tmp_path / "a.safetensors")
    attachment = attach(other, tmp_path / "a.safetensors", blocks=blocks)
    x = torch.randn(3, WIDTH, dtype=torch.bfloat16)
    for _ in range(2):
        assert same_bits(other(x), model(x))
    assert attachment.report().tensors == 10
    assert same_bits(other.layers[2].below[1](x), model.layers[2].below[1](x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.MultiheadAttention(WIDTH, 4, batch_first=True),
        lambda: nn.TransformerEncoderLayer(WIDTH, 4, 256, batch_first=True),
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 4, 256, batch_first=True), 2),
        lambda: nn.Sequential(nn.Conv1d(4, 256, 200, padding=100), nn.ReLU(), nn.Linear(193, 512)),
    ],
)
def test_modules_that_read_below(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model, other = pair(make(), torch.float32)
    x = torch.randn(2, 4, WIDTH)
    arguments = (x, x, x) if isinstance(model, nn.MultiheadAttention) else (x,)
    attachment = attach(other, save(model, tmp_path / "a.safetensors"))
    found, wanted = other(*arguments), model(*arguments)
    found, wanted = (found[0], wanted[0]) if isinstance(found, tuple) else (found, wanted)
    assert same_bits(found, wanted)
    assert attachment.report().tensors >= 2


def test_weights_in_a_list(tmp_path: Path) -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrices = nn.ParameterList([nn.Parameter(torch.zeros(WIDTH, WIDTH)) for _ in range(2)])

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.matrices[0] + x @ self.matrices[1]

    model, other = pair(Experts())
    attach(other, save(model, tmp_path / "a.safetensors"))
    x = torch.randn(3, WIDTH, dtype=torch.bfloat16)
    assert same_bits(other(x), model(x))


def test_an_lstm_keeps_its_list_of_weights(tmp_path: Path) -> None:
    model, other = pair(nn.LSTM(WIDTH, 128), torch.float32)
    attach(other, save(model, tmp_path / "a.safetensors"))
    x = torch.randn(5, 2, WIDTH)
    assert same_bits(other(x)[0], model(x)[0])


def test_weights_read_outside_of_their_block(tmp_path: Path) -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(WIDTH, WIDTH, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.inner.weight)

    model, other = pair(Careless())
    path = save(model, tmp_path / "a.safetensors")
    attachment = attach(other, path)
    x = torch.randn(3, WIDTH, dtype=torch.bfloat16)
    assert same_bits(other(x), model(x))
    attachment.detach()
    attach(other, path, blocks=[""])
    assert same_bits(other(x), model(x))


def test_weights_that_are_given_back_stay_what_they_are(tmp_path: Path) -> None:
    @dataclass
    class Found:
        rows: Tensor

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(300, WIDTH))

        def forward(self, kind: str) -> object:
            rows = self.table[:5]
            point = namedtuple("Point", ["a", "b"])
            return {"one": rows, "list": [rows, 3], "named": point(rows.t(), 2), "dict": {"x": (rows,)},
                    "set": Found(rows), "new": rows + 0}[kind]  # fmt: skip

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Rows(), Rows()

        def forward(self) -> Tensor:
            return torch.cat((self.first("one"), self.second("one")))

    model, other = pair(Model())
    attach(other, save(model, tmp_path / "a.safetensors"))
    assert same_bits(other(), model())
    for kind, pick in {"one": lambda v: v, "list": lambda v: v[0], "named": lambda v: v.a, "dict": lambda v: v["x"][0],
                       "new": lambda v: v, "set": lambda v: v.rows}.items():  # fmt: skip
        found = other.first(kind)
        other.second("one")
        assert same_bits(pick(found), pick(model.first(kind)))
    assert same_bits(other(), model())


def test_after_an_error_and_an_interrupt(tmp_path: Path) -> None:
    model, other = pair(Tied())
    attachment = attach(other, save(model, tmp_path / "a.safetensors"))
    raised: list[type[BaseException]] = [ValueError, KeyboardInterrupt, KeyboardInterrupt]

    def fail(*_: object) -> None:
        if raised:
            raise raised.pop(0)

    other.layers[1].down.register_forward_pre_hook(fail)
    for kind in list(raised):
        with pytest.raises(kind):
            other(IDS)
    assert same_bits(other(IDS), model(IDS))
    assert all(pool._taken == 0 for pool in attachment._pools.values())
    assert attachment.report().buffer_bytes == 2 * 2 * 2 * WIDTH * WIDTH


def test_two_threads_at_once(tmp_path: Path) -> None:
    model, other = pair(Tied(6))
    attach(other, save(model, tmp_path / "a.safetensors"), threads=1)
    wanted, found = model(IDS), []

    def work() -> None:
        with torch.no_grad():
            found.extend(other(IDS) for _ in range(10))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 30 and all(same_bits(one, wanted) for one in found)


def test_inference_mode_and_back(tmp_path: Path) -> None:
    model, other = pair(Tied())
    attach(other, save(model, tmp_path / "a.safetensors"))
    for _ in range(2):
        with torch.inference_mode():
            assert same_bits(other(IDS), model(IDS))
        assert same_bits(other(IDS), model(IDS))


def test_a_model_that_is_changed(tmp_path: Path) -> None:
    model, other = pair(Tied())
    attachment = attach(other, save(model, tmp_path / "a.safetensors"))
    with pytest.raises(RuntimeError, match="embed.weight is compressed and cannot be written to"):
        other.float()
    other.bfloat16()
    assert same_bits(other(IDS), model(IDS))
    other.to("cpu").eval()
    assert same_bits(other(IDS), model(IDS))
    attachment.detach()
    with pytest.raises(KeyError, match="no weights are attached"):
        weights.attachment_of(other)
    assert not any(isinstance(p, CompressedTensor) for p in other.parameters())
    attachment.detach()


def test_sources_that_do_not_fit(tmp_path: Path) -> None:
    model, other = pair(Tied())
    path = save(model, tmp_path / "a.safetensors")
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=r"the source has no layers.3.norm.weight, .* and 0|layers.3.down.weight"):
        attach(Tied(4).bfloat16(), path)
    with pytest.raises(ValueError, match=r"is torch.bfloat16 .* in the source, but torch.float32 .* in the model"):
        attach(Tied(), path)
    wide = Tied().bfloat16()
    wide.embed.weight = wide.head.weight = nn.Parameter(torch.zeros(212, WIDTH, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match=r"(embed|head).weight is torch.bfloat16 \[211, 192\] in the source, but"):
        attach(wide, path)
    with pytest.raises(ValueError, match="blocks name 'layers.7'"):
        attach(copy.deepcopy(other), path, blocks=["layers.7"])
    with pytest.raises(UnreadableFileError):
        attach(other, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFileError, match="no .safetensors or .dfloat files"):
        attach(other, tmp_path / "empty")
    assert all(same_bits(other.state_dict()[name], tensor) for name, tensor in before.items())
    small = Tied(2).bfloat16().eval()
    assert attach(small, path).unused == tuple(sorted(f"layers.2.{n}" for n in Layer().state_dict()))
    small(IDS)


def test_parameters_that_the_source_has_not(tmp_path: Path) -> None:
    model, other = pair(Tied())
    path = save(model, tmp_path / "a.safetensors")
    more = Tied(4).bfloat16().eval()
    kept = more.layers[3].up.weight.clone()
    attach(more, path, strict=False)
    assert same_bits(more.layers[3].up.weight, kept)
    model.layers.append(more.layers[3])
    assert same_bits(more(IDS), model(IDS))


def test_a_large_buffer_stays_decoded(tmp_path: Path) -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.randn(300, WIDTH) * 0.02)
            self.up = nn.Linear(WIDTH, 2 * WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(x + self.table[: len(x)])

    model, other = pair(Positions())
    other.table.zero_()
    attachment = attach(other, save(model, tmp_path / "a.safetensors"))
    x = torch.randn(3, WIDTH, dtype=torch.bfloat16)
    assert same_bits(other(x), model(x)) and same_bits(other.table, model.table)
    assert attachment.report().tensors == 1


def test_a_damaged_tensor_is_named(tmp_path: Path) -> None:
    model, other = pair(Tied())
    path = save(model, tmp_path / "a.safetensors")
    file = weights.WeightFile(path)
    payload = file.payload("layers.1.up.weight")
    data = bytearray(path.read_bytes())
    begin = data.find(payload.data.tobytes())
    data[begin + int(payload.planes[1].places[0]) + 5] ^= 1
    path.write_bytes(data)
    attach(other, path)
    with pytest.raises(CorruptStreamError, match=r"tensor 'layers.1.up.weight': "):
        other(IDS)
    assert same_bits(other.layers[0](model.embed(IDS)), model.layers[0](model.embed(IDS)))


def test_a_folder_of_shards_compressed_and_plain(tmp_path: Path) -> None:
    model, other = pair(Tied())
    tensors = {name: t for name, t in model.state_dict().items() if name != "head.weight"}
    names = sorted(tensors)
    (tmp_path / "plain").mkdir()
    (tmp_path / "made").mkdir()
    for shard, part in enumerate((names[:6], names[6:12], names[12:])):
        file = tmp_path / "plain" / f"model-{shard}.safetensors"
        save_file({name: tensors[name] for name in part}, file)
        if shard < 2:
            weights.compress(file, tmp_path / "made" / file.name)
        else:
            (tmp_path / "made" / file.name).write_bytes(file.read_bytes())
    attach(other, tmp_path / "made")
    assert same_bits(other(IDS), model(IDS))
    (tmp_path / "made" / "more.safetensors").write_bytes((tmp_path / "made" / "model-1.safetensors").read_bytes())
    with pytest.raises(CorruptStreamError, match="is in model-1.safetensors too"):
        attach(other, tmp_path / "made")


@pytest.mark.parametrize("as_device", [False, True])
def test_a_delta(as_device: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = pair(Tied())
    base = {name: t.clone() for name, t in model.state_dict().items() if name != "head.weight"}
    save_file(base, tmp_path / "base.safetensors")
    model.layers[1].up.weight[:3] *= 1.5
    tuned = {name: t for name, t in model.state_dict().items() if name != "head.weight"}
    save_file(tuned, tmp_path / "tuned.safetensors")
    weights.compress(tmp_path / "tuned.safetensors", tmp_path / "d.safetensors", base=tmp_path / "base.safetensors")
    if as_device:
        on_devices(monkeypatch)
    with pytest.raises(WeightsMismatchError):
        attach(other, tmp_path / "d.safetensors")
    attach(other, tmp_path / "d.safetensors", base=tmp_path / "base.safetensors")
    assert same_bits(other(IDS), model(IDS))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float32"])
@pytest.mark.parametrize("kind", ["random", "all bits", "equal"])
def test_items_of_devices_give_every_bit_back(name: str, kind: str) -> None:
    dtype = getattr(torch, name)
    rng = np.random.default_rng(0)
    n = 70_001
    bits = rng.integers(0, 256, n * dtype.itemsize, np.uint8)
    if kind != "all bits":
        spread = 0.0 if kind == "equal" else 0.05
        bits = (torch.randn(n) * spread + (1.0 - spread)).to(dtype).view(torch.uint8).numpy()
    unsigned = {1: np.uint8, 2: np.uint16, 4: np.uint32}[dtype.itemsize]
    payload = read_payload(coding.encode(bits.view(unsigned)))
    item = for_device(PayloadItem(("x",), ((n,),), dtype, payload), 1)
    assert isinstance(item, DeviceItem) == (kind != "all bits")
    out = torch.empty(n, dtype=dtype)
    item.decode(out, 1)
    assert np.array_equal(out.view(torch.uint8).numpy(), bits)
    assert item.nbytes >= payload.width


def test_the_attachment_alone_says_what_it_holds(tmp_path: Path) -> None:
    model, other = pair(Tied())
    tensors = load_file(save(model, tmp_path / "a.safetensors").with_suffix(".plain"))
    save_file(tensors, tmp_path / "plain.safetensors")
    attachment = attach(other, tmp_path / "plain.safetensors")
    assert isinstance(attachment, Attachment)
    report = attachment.report()
    assert (report.tensors, report.plain_bytes, report.held_bytes, report.buffer_bytes) == (0, 0, 0, 0)
    assert report.gigabytes_per_second == 0
    assert same_bits(other(IDS), model(IDS))
