# SPDX-License-Identifier: Apache-2.0
"""Golden streams and files of `dfloat.1`: they decode to the same bits for ever, and are encoded to the same bytes."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.codecs.dfloat.dtypes import bits_of
from isthmus.weights import WeightFile, verify

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "dfloat.1"
MODES = ("huffman", "rans")


def golden_tensors() -> dict[str, torch.Tensor]:
    """The tensors of tools/regen_golden.py."""
    spec = importlib.util.spec_from_file_location("regen_golden", ROOT / "tools" / "regen_golden.py")
    assert spec is not None and spec.loader is not None
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.tensors()


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(bits_of(tensor).tobytes()).hexdigest()


@pytest.mark.parametrize("mode", MODES)
def test_stream(mode: str) -> None:
    data = (GOLDEN / f"set-{mode}.ist").read_bytes()
    record = json.loads((GOLDEN / f"set-{mode}.json").read_text())
    found = isthmus.decode(data)
    told = {n: {"dtype": str(t.dtype), "shape": list(t.shape), "sha256": digest(t)} for n, t in found.items()}
    assert told == record and isthmus.inspect(data)["mode"] == mode
    latent = isthmus.unpack(data)
    assert latent.codec.pack(latent) == data


@pytest.mark.parametrize("mode", MODES)
def test_encoding_again(mode: str) -> None:
    """Integers decide all of it, so another machine makes the same bytes."""
    assert isthmus.encode(golden_tensors(), codec="dfloat", mode=mode) == (GOLDEN / f"set-{mode}.ist").read_bytes()


@pytest.mark.parametrize("mode", MODES)
def test_file(mode: str) -> None:
    path = GOLDEN / f"file-{mode}.df.safetensors"
    assert verify(path, threads=1) == [path]
    file = WeightFile(path)
    for name, tensor in golden_tensors().items():
        assert np.array_equal(bits_of(file.tensor(name)), bits_of(tensor)), name
    codings = {plane.coding for name in file.original if file.is_coded(name) for plane in file.payload(name).planes}
    assert codings == ({0, 1} if mode == "huffman" else {0, 1, 2, 3})
    indexed = [name for name in file.original if file.is_coded(name) and file.payload(name).index is not None]
    assert bool(indexed) == (mode == "huffman") and file.source["index"]
