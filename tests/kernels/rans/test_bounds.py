# SPDX-License-Identifier: Apache-2.0
"""No kernel of the entropy engine leaves its arrays, whatever the bytes: as plain Python and with checked bounds."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = "tests.kernels.rans.bad_input"
MODES = {
    # Compiled kernels in a cache of their own: the usual one holds code without the checks.
    "compiled": ("150", {"NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0", "NUMBA_DISABLE_JIT": "0"}),
    "python": ("60", {"NUMBA_DISABLE_JIT": "1"}),
}


def test_any_bytes_within_bounds(tmp_path: Path) -> None:
    running = {}
    for mode, (examples, settings) in MODES.items():
        environment = {**os.environ, **settings, "NUMBA_CACHE_DIR": str(tmp_path / mode)}
        command = [sys.executable, "-m", PROGRAM, examples]
        running[mode] = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    for mode, process in running.items():
        output, _ = process.communicate()
        assert process.returncode == 0 and output.splitlines()[-1] == "whole", f"{mode}: {output[-4000:]}"
