# SPDX-License-Identifier: Apache-2.0
"""One flipped bit anywhere in a compressed file: the same tensors, or refused."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from isthmus import weights
from isthmus.errors import CorruptStreamError, IsthmusError
from isthmus.weights.dfloat_file import WeightFile
from isthmus.weights.safetensors_file import SafetensorsFile
from tests.weights.sample_files import mixed, normal, same, write


@pytest.fixture(params=["coded", "as it was"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file with coded and raw tensors, and one that did not get smaller."""
    if request.param == "coded":
        write(tmp_path / "plain.safetensors", mixed(), {})
    else:
        tiny = {f"layer.{n}.scale": torch.full((3,), float(n)) for n in range(300)}
        save_file(tiny, tmp_path / "plain.safetensors")
    weights.compress(tmp_path / "plain.safetensors", tmp_path / "packed.dfloat")
    return tmp_path / "packed.dfloat"


def flipped(path: Path, at: int, bit: int) -> Path:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    target = path.with_name("flipped.dfloat")
    target.write_bytes(data)
    return target


def places(path: Path) -> list[int]:
    """Bytes of the header, and of whatever is not coded."""
    file, compressed = SafetensorsFile(path), WeightFile(path)
    data = 8 + len(file.header_bytes)
    raw = [file.tensors[name] for name in compressed.original if not compressed.is_coded(name)]
    return [*range(data), *(data + at for t in raw for at in range(t.begin, t.end))]


def test_flipped_bits(packed: Path) -> None:
    wanted, chance = weights.load_file(packed), random.Random(1)
    mark = packed.read_bytes().index(b'"dfloat"')
    refused = 0
    for at in [*range(mark, mark + 8), *chance.sample(places(packed), 500)]:
        path = flipped(packed, at, chance.randrange(8))
        try:
            found = weights.load_file(path)
        except IsthmusError:
            refused += 1
            continue
        assert found.keys() == wanted.keys()
        assert all(same(found[name], wanted[name]) for name in wanted)
        with weights.open(path) as file:
            assert all(same(file.get_slice(name)[...], wanted[name]) for name in wanted)
    assert refused > 300


def test_raw_tensors_are_checked_by_all_who_read_them(tmp_path: Path) -> None:
    write(tmp_path / "plain.safetensors", {"norm": torch.arange(7, dtype=torch.float64), "w": normal(300, 300)}, {})
    packed = tmp_path / "packed.dfloat"
    weights.compress(tmp_path / "plain.safetensors", packed)
    file = SafetensorsFile(packed)
    path = flipped(packed, 8 + len(file.header_bytes) + file.tensors["norm"].begin + 3, 0)
    model = torch.nn.Module()
    model.norm, model.w = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64)), torch.nn.Parameter(normal(300, 300))
    for read in (
        lambda: weights.load_file(path),
        lambda: weights.open(path).get_slice("norm")[2:3],
        lambda: weights.state_dict(path)["norm"],
        lambda: weights.attach(model, path),
    ):
        with pytest.raises(CorruptStreamError, match=r"flipped\.dfloat: tensor 'norm': its bytes are damaged"):
            read()
    assert same(weights.load_file(path.with_name("packed.dfloat"))["norm"], torch.arange(7, dtype=torch.float64))
