# SPDX-License-Identifier: Apache-2.0
"""Weights files made to hurt: refused with a child of IsthmusError, taking no memory for what they only claim."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

import isthmus
from isthmus.codecs.walloc.weights import LIMITS
from isthmus.errors import CorruptStreamError, IsthmusError

CONFIG: dict[str, Any] = {
    "latent_channels": 5, "signal_channels": 3, "levels": 3, "width": 8, "blocks": 1, "kernel": 5, "expansion": 2,
    "gain_levels": 4,
}  # fmt: skip


def metadata(**changes: Any) -> dict[str, str]:
    return {"isthmus": json.dumps({"family": "walloc", "config": CONFIG | changes})}


def refused(path: Path, message: str = ".") -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptStreamError, match=message):
            isthmus.load(str(path))
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.fixture
def rewritten(tiny_weights: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny weights with some tensors replaced (None: left out) and with other metadata."""

    def write(changes: dict[str, Tensor | None], meta: dict[str, str] | None = None) -> Path:
        tensors: dict[str, Tensor | None] = load_file(tiny_weights) | changes
        kept = {k: v for k, v in tensors.items() if v is not None}
        save_file(kept, tmp_path / "bad.safetensors", metadata() if meta is None else meta)
        return tmp_path / "bad.safetensors"

    return write


def test_the_untouched_file_loads(rewritten: Callable[..., Path]) -> None:
    assert isthmus.load(str(rewritten({}))).model.config.latent_channels == 5


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 1000, -4096, -1])
def test_truncated(tiny_weights: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / "cut.safetensors").write_bytes(tiny_weights.read_bytes()[:length])
    refused(tmp_path / "cut.safetensors", "safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        (2**62).to_bytes(8, "little") + b"{}",
        (50).to_bytes(8, "little") + b"{" * 50,
        (2).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b"null",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"PK\x03\x04 a pickle of torch.save" + bytes(100),
        b"text, not weights\n" * 20,
    ],
    ids=lambda c: repr(c[:8]),
)
def test_not_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(content)
    refused(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]},
        {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "X99", "shape": [1], "data_offsets": [0, 4]},
        {"shape": [1]},
    ],
    ids=str,
)
def test_lying_header(tmp_path: Path, entry: dict[str, Any]) -> None:
    head = json.dumps({"__metadata__": metadata(), "model.analysis.weight": entry}).encode()
    (tmp_path / "lie.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    refused(tmp_path / "lie.safetensors", "safetensors")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "not JSON",
        '{"family": "walloc"}',
        '{"family": "walloc", "config": []}',
        '{"family": "walloc", "config": [[]]}',
        '{"family": "walloc", "config": 3}',
        '{"family": ["walloc"], "config": {}}',
        json.dumps({"family": "stem", "config": CONFIG}),
        json.dumps({"family": "walloc", "config": CONFIG | {"extra": 1}}),
        "[" * 100_000,
        '{"family": "walloc", "config": ' + "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_descriptions_of_nothing(rewritten: Callable[..., Path], text: str) -> None:
    refused(rewritten({}, {"isthmus": text}), "not the weights of an isthmus codec")
    refused(rewritten({}, {}), "not the weights")


@pytest.mark.parametrize("key", sorted(CONFIG))
@pytest.mark.parametrize("value", [-1, 1 << 31, 10**30, 2.0, "3", None, True, [3]])
def test_config_values_out_of_bounds(rewritten: Callable[..., Path], key: str, value: Any) -> None:
    refused(rewritten({}, metadata(**{key: value})), f"{key} = ")


@pytest.mark.parametrize(
    "changes",
    [
        dict(LIMITS),
        {"width": 4096, "expansion": 8},
        {"latent_channels": 1024, "signal_channels": 16, "levels": 5},
        {"blocks": 128},
        {"gain_levels": 5},
        {"latent_channels": 6},
        {"kernel": 3},
    ],
    ids=str,
)
def test_config_that_claims_more_than_the_file_holds(rewritten: Callable[..., Path], changes: dict[str, int]) -> None:
    refused(rewritten({}, metadata(**changes)), "do not fit the configuration")


def test_config_that_cannot_work(rewritten: Callable[..., Path]) -> None:
    refused(rewritten({}, metadata(kernel=4)), "odd")
    refused(rewritten({"model.network.blocks.0.spatial.weight": torch.zeros(8, 1, 4, 4)}, metadata(kernel=4)), "odd")
    grey = {
        "model.analysis.weight": torch.zeros(5, 64),
        "model.synthesis.weight": torch.zeros(64, 5),
        "model.synthesis.bias": torch.zeros(64),
        "model.network.output.weight": torch.zeros(64, 8, 1, 1),
        "model.network.output.bias": torch.zeros(64),
    }
    refused(rewritten(grey, metadata(signal_channels=1)), "images need 3")


@pytest.mark.parametrize(
    "changes",
    [
        {"model.analysis.weight": None},
        {"model.log_step": None},
        {"model.deviation": None},
        {"model.surplus": torch.zeros(1)},
        {"model.analysis.weight": torch.zeros(5, 191)},
        {"model.analysis.bias": torch.zeros(())},
        {"model.analysis.weight": torch.zeros(5, 192, dtype=torch.float16)},
        {"model.analysis.weight": torch.zeros(5, 192, dtype=torch.int64)},
        {"model.analysis.bias": torch.full((5,), torch.nan)},
        {"model.log_gain": torch.full((4, 5), torch.inf)},
        {"tables.expected": None},
        {"tables.low": None},
        {"tables.precision": None},
        {"tables.frequencies": None},
        {"tables.expected": torch.zeros(100, 6, dtype=torch.uint8)},
        {"tables.expected": torch.zeros(99, 5, dtype=torch.uint8)},
        {"tables.expected": torch.zeros(100, 5, dtype=torch.int32)},
        {"tables.expected": torch.full((100, 5), 64, dtype=torch.uint8)},
        {"tables.expected": torch.zeros((), dtype=torch.uint8)},
        {"tables.precision": torch.tensor([16], dtype=torch.int32)},
        {"tables.precision": torch.tensor([-5], dtype=torch.int32)},
        {"tables.precision": torch.tensor([12, 12], dtype=torch.int32)},
        {"tables.low": torch.zeros(66, dtype=torch.float32)},
        {"tables.low": torch.zeros(66, dtype=torch.bfloat16)},
        {"tables.low": torch.zeros(66, dtype=torch.bool)},
        {"tables.low": torch.zeros((), dtype=torch.int32)},
        {"tables.low": torch.zeros(1, 66, dtype=torch.int32)},
        {"tables.low": torch.zeros(0, dtype=torch.int32)},
        {"tables.low": torch.full((66,), -(1 << 23), dtype=torch.int32)},
        {"tables.size": torch.full((66,), -1, dtype=torch.int32)},
        {"tables.size": torch.full((66,), (1 << 31) - 1, dtype=torch.int32)},
        {"tables.frequencies": torch.zeros(7, dtype=torch.int32)},
    ],
    ids=lambda c: "-".join(f"{k} {'missing' if v is None else f'{v.dtype} {list(v.shape)}'}" for k, v in c.items()),
)
def test_tensors_that_do_not_fit(rewritten: Callable[..., Path], changes: dict[str, Tensor | None]) -> None:
    refused(rewritten(changes))


def test_frequencies_out_of_bounds(rewritten: Callable[..., Path], tiny_weights: Path) -> None:
    good = load_file(tiny_weights)["tables.frequencies"]
    for position, value in ((0, 0), (3, -1), (len(good) - 1, 1 << 30)):
        bad = good.clone()
        bad[position] = value
        refused(rewritten({"tables.frequencies": bad}), "weights file")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_anywhere(
    tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, data: st.DataObject
) -> None:
    """Weights carry no checksum: damage is refused or changes the hashes, and never breaks encoding and decoding."""
    content = bytearray(tiny_weights.read_bytes())
    header = int.from_bytes(content[:8], "little") + 8
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.one_of(st.integers(0, header - 1), st.integers(header, len(content) - 1)))
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content)
    try:
        codec = isthmus.load(str(path))
        stream = codec.encode(astronaut[:16, :16])
        assert codec.decode(stream).shape == (3, 16, 16)
    except IsthmusError as error:
        assert str(error)
