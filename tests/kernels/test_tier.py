# SPDX-License-Identifier: Apache-2.0
"""Small work is done plainly until a kernel is compiled or has cost its budget, which is small for one in the cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba import njit

from isthmus.kernels import tier

CACHED = """
import sys
from numba import njit
import kernel
from isthmus.kernels import tier
print(tier.plain(kernel.one_more, tier.LOADING))
if sys.argv[1] == "call":
    kernel.one_more(1)
    print(tier.plain(kernel.one_more, 0.0))
else:
    print(tier.plain(kernel.one_more, tier.LOADING / 2))
"""
PLAIN = tier.plain  # what the session's fixture replaces once tests run
KERNEL = "from isthmus.kernels.compiled import kernel\n\n@kernel\ndef one_more(x):\n    return x + 1\n"


@pytest.fixture(autouse=True)
def as_outside_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier, "plain", PLAIN)


def twin(x: int) -> int:
    return x + 1


def test_a_kernel_that_is_compiled_is_used() -> None:
    kernel = njit(lambda x: x + 1)
    found = tier.pick(kernel, twin, 0.001)
    assert found is not kernel and found(4) == 5
    kernel(1)
    assert tier.pick(kernel, twin, 0.001) is kernel


def test_much_work_is_for_the_kernel_at_once_and_little_of_it_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, other = njit(lambda x: x + 1), njit(lambda x: x + 2)
    assert tier.pick(kernel, twin, tier.COMPILING * 0.51) is kernel
    # What calls take counts, not what was said.
    clock = iter(range(100))
    monkeypatch.setattr(tier, "thread_time", lambda: next(clock) * tier.COMPILING / 4)
    for _ in range(4):
        found = tier.pick(kernel, twin, 0.0)
        assert found is not kernel and found(1) == 2
    assert tier.pick(kernel, twin, tier.COMPILING / 100) is kernel
    assert tier.pick(other, twin, tier.COMPILING / 100) is not other, "each kernel has its own budget"


def test_plain_functions_are_called() -> None:
    assert tier.pick(twin, len, 0.0) is twin  # what NUMBA_DISABLE_JIT makes of kernels


def test_a_kernel_in_the_cache_is_soon_used(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": f"{tmp_path}:{os.getcwd()}"}

    def answers(what: str) -> list[str]:
        command = [sys.executable, "-c", CACHED, what]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()

    assert answers("ask") == ["True", "True"]
    assert answers("call") == ["True", "False"]
    assert answers("ask") == ["False", "True"]
