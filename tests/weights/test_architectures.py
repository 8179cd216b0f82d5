# SPDX-License-Identifier: Apache-2.0
"""Small models of thirty architectures of transformers, compressed: the same bits as from the plain folder.

`benchmarks/bench_architectures.py` compares all that there are, in the same way.
"""

import pytest
import torch

from benchmarks.shared.architectures.selection import SELECTION


@pytest.mark.filterwarnings("ignore")  # of transformers itself, about configs so small
@pytest.mark.parametrize(("name", "dtype"), SELECTION, ids=[name for name, _ in SELECTION])
def test_a_compressed_model_answers_with_the_same_bits(name: str, dtype: str) -> None:
    pytest.importorskip("transformers", minversion="5")
    from benchmarks.shared.architectures.comparing import examine

    row = examine(name, getattr(torch, dtype))
    assert row["outcome"] == "equal", row
    assert row["large_share"] > 0.5, row  # otherwise there was little to compare
