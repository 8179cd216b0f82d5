# SPDX-License-Identifier: Apache-2.0
"""Numbers of callers to numpy, and floats to integers that hold them."""

import numpy as np
import pytest
import torch

from isthmus.arrays.numbers import as_array, check_finite, rounded


def test_arrays_of_every_kind() -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float8_e5m2, torch.int16, torch.bool):
        tensor = torch.tensor([0, 1, 1]).to(dtype)
        assert as_array(tensor).tolist() == [0, 1, 1]
    assert as_array(torch.ones(1, dtype=torch.bfloat16)).dtype == np.float32
    assert as_array(torch.ones(2, requires_grad=True)[::2]).tolist() == [1]
    assert as_array([1, 2]).dtype == np.int64 and as_array(3.0).shape == ()
    whole = np.ones(3)
    assert as_array(whole) is whole


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounded(dtype: type) -> None:
    found = rounded(np.array([-0.5, 1.5, -(2.0**31), 3e-30], dtype), "x")
    assert found.dtype == np.int32 and found.tolist() == [0, 2, -(2**31), 0]
    for bad in (np.nan, np.inf, -np.inf, 2.0**31, 1e20, -1e20):
        with pytest.raises(ValueError, match=r"x: .* among 1 of 3 values that are not finite or do not fit"):
            rounded(np.array([0, bad, 1], dtype), "x")
    assert rounded(np.zeros((0, 2), dtype), "x").shape == (0, 2)
    assert int(rounded(np.array(7, dtype), "x")) == 7


def test_check_finite() -> None:
    check_finite(np.array([1.0, -1e300]), "x")
    check_finite(np.array([]), "x")
    with pytest.raises(ValueError, match="x: inf among 2 values"):
        check_finite(np.array([1.0, np.inf]), "x")
