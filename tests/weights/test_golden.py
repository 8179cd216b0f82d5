# SPDX-License-Identifier: Apache-2.0
"""Golden files of `isthmus weights compress`: they restore to the same bits for ever."""

from pathlib import Path

import numpy as np
import pytest

from isthmus.codecs.dfloat.tensors import bits_of
from isthmus.weights import WeightFile, verify
from tests.codecs.dfloat.cases import tensors

GOLDEN = Path(__file__).parents[1] / "golden" / "dfloat.1"


@pytest.mark.parametrize("mode", ["huffman", "rans"])
def test_file(mode: str) -> None:
    path = GOLDEN / f"file-{mode}.df.safetensors"
    assert verify(path, threads=1) == [path]
    file = WeightFile(path)
    for name, tensor in tensors().items():
        assert np.array_equal(bits_of(file.tensor(name)), bits_of(tensor)), name
    codings = {plane.coding for name in file.original if file.is_coded(name) for plane in file.payload(name).planes}
    assert codings == ({0, 1} if mode == "huffman" else {0, 1, 2, 3})
    indexed = [name for name in file.original if file.is_coded(name) and file.payload(name).index is not None]
    assert bool(indexed) == (mode == "huffman") and file.source["index"]
