# SPDX-License-Identifier: Apache-2.0
"""No context kernel leaves its arrays, whatever the planes and the bytes: compiled with checked bounds."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = "tests.entropy.models.context_bad_input"


def test_any_planes_and_bytes_within_bounds(tmp_path: Path) -> None:
    # A cache of its own: the usual one holds code without the checks.
    settings = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0", "NUMBA_DISABLE_JIT": "0", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM], cwd=ROOT, env={**os.environ, **settings}, text=True, capture_output=True
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "whole", done.stderr[-4000:]
