# SPDX-License-Identifier: Apache-2.0
"""Our DFloat11 modules against the packages dfloat11 and dahuffman themselves, where ISTHMUS_PEERS names their folder.

    ISTHMUS_PEERS=PEERS pytest tests/weights/upstream/test_peer.py

What the package wrote is also in tests/golden/dfloat11-upstream, which test_checkpoint.py reads everywhere.
"""

import contextlib
import importlib.util
import io
import os
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from isthmus.weights.upstream.block import UpstreamBlock
from isthmus.weights.upstream.encode import encode_block

FOLDER = os.environ.get("ISTHMUS_PEERS")
pytestmark = [
    pytest.mark.skipif(FOLDER is None, reason="ISTHMUS_PEERS names no folder with dfloat11 0.5.0 and dahuffman 0.4.2"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    """The package's encoder; its `__init__` would want cupy and a GPU."""
    assert FOLDER is not None
    sys.path.append(FOLDER)
    spec = importlib.util.spec_from_file_location("dfloat11_utils", f"{FOLDER}/dfloat11/dfloat11_utils.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_bits(seed: int, n: int, spread: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    exponents = np.clip(110 + rng.standard_normal(n) * spread, 0, 239).astype(np.uint16)
    return rng.integers(0, 2, n, np.uint16) << 15 | exponents << 7 | rng.integers(0, 128, n, np.uint16)


CASES = [
    (n, spread) for n in (100, 999, 5000, 60_000) for spread in (0.4, 1.5, 4.0, 10.0)
]  # far wider ones need more rows of luts than it can point to


@pytest.mark.parametrize(("n", "spread"), CASES)
def test_we_read_what_it_writes(n: int, spread: float, peer: ModuleType) -> None:
    bits = random_bits(n, n, spread)
    weights = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        codec, _, table = peer.get_32bit_codec(peer.get_codec(weights)[1])
        try:
            luts = peer.get_luts(table)
        except UnboundLocalError:  # the mark of the end is the first code of all: the package cannot write that
            pytest.skip("dfloat11 fails on these weights")
        parts = [weights[: n // 3], weights[n // 3 :]]
        encoded, rest, positions, gaps, splits = peer.encode_weights(parts, codec, 8, 512)
    fields = (luts, encoded, rest, positions.view(torch.uint8), gaps, splits)
    theirs = UpstreamBlock("x", *(tensor.numpy() for tensor in fields))
    assert np.array_equal(theirs.decode(), bits)
    ours = encode_block("x", [bits[: n // 3], bits[n // 3 :]])
    # Both codes are the best for the exponents and one mark of the end together, whose own length may differ.
    assert abs(len(ours.encoded_exponent) - len(theirs.encoded_exponent)) <= 4


@pytest.mark.parametrize(("n", "spread"), CASES)
def test_dahuffman_reads_what_we_write(n: int, spread: float, peer: ModuleType) -> None:
    from dahuffman.huffmancodec import _EOF, PrefixCodec

    bits = random_bits(n, n, spread)
    block = encode_block("x", [bits])
    code_of, length_of = block.code.by_symbol()
    table = {s: (int(length_of[s]), int(code_of[s])) for s in block.code.symbols.tolist()}
    found = PrefixCodec(table, eof=_EOF).decode(block.encoded_exponent.tobytes())
    assert found[:n] == (bits >> 7 & 255).tolist()
    assert len(found) - n < 8  # what padding looks like
