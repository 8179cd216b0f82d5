# SPDX-License-Identifier: Apache-2.0
"""The device of the GPU tests: without one they fail where ISTHMUS_REQUIRE_CUDA=1, and are skipped elsewhere."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    if not torch.cuda.is_available():
        if os.environ.get("ISTHMUS_REQUIRE_CUDA") == "1":
            pytest.fail("ISTHMUS_REQUIRE_CUDA=1, but torch finds no CUDA device")
        pytest.skip("no CUDA device; ISTHMUS_REQUIRE_CUDA=1 makes this a failure")
    return torch.device("cuda", torch.cuda.current_device())
