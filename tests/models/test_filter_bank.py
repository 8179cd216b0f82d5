# SPDX-License-Identifier: Apache-2.0
"""Filter banks of sound: what goes through one comes back, also at the ends and in parts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels.resample.resampler import mirrored
from isthmus.models.filter_bank import TRANSFORMS, filter_bank


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(TRANSFORMS), st.sampled_from([2, 8, 32]), st.integers(1, 400), st.integers(0, 2**32))
def test_signals_come_back(transform: str, hop: int, samples: int, seed: int) -> None:
    """From the frames that a bank says are needed, made of the signal and its mirror images."""
    bank = filter_bank(transform, hop)
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, samples)))
    frames = bank.frames(samples)
    first, last = bank.needs(0, frames)
    wide = x[:, mirrored(first * hop, last * hop, samples)]
    bands = bank.analyze(wide)
    assert bands.shape == (2, hop, frames)
    back = bank.synthesize(bands)
    assert back.shape[1] >= samples and torch.allclose(back[:, :samples], x, atol=1e-9)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_parts_are_those_of_the_whole(transform: str) -> None:
    bank = filter_bank(transform, 16)
    x = torch.randn(1, 16 * 60, dtype=torch.float64)
    whole = bank.analyze(x)
    part = bank.analyze(x[:, 16 * 20 :])
    assert torch.equal(whole[..., 20:], part)


def test_mdct_is_orthonormal() -> None:
    bank = filter_bank("mdct", 32)
    rows = bank.analysis
    assert np.allclose(rows @ rows.T, np.eye(32)) and np.allclose(rows[:, :32] @ rows[:, 32:].T, 0)


def test_other_banks_are_refused() -> None:
    for transform, hop in (("dct", 8), ("packets", 12), ("packets", 1)):
        with pytest.raises(ValueError, match="no filter bank"):
            filter_bank(transform, hop)
    assert filter_bank("mdct", 0 + 8).frames(0) == 0
