# SPDX-License-Identifier: Apache-2.0
"""The first small picture of a new installation: nothing is compiled for it, and no compiler of torch is imported."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import numpy as np
from numba.core import event
import isthmus

class Compiled(event.Listener):
    def on_start(self, e): sys.exit(f"compiles {e.data['dispatcher'].py_func}")
    def on_end(self, e): pass

y, x = np.mgrid[:67, :90]
flat = np.full((24, 40, 3), 9, np.uint8)
photo = np.stack([(y * 5 + x) % 256, x * 2, (x * y) % 251], axis=2).astype(np.uint8)
with event.install_listener("numba:compile", Compiled()):
    for name in ("walloc-image-f8c48", "walloc-image-f8c12"):
        codec = isthmus.load(name)
        for image in (flat, photo):
            for entropy in (None, "factorized"):
                data = codec.encode(image, quality=50, entropy=entropy)
                codec.decode(data)
                codec.decode(data, synthesis="linear")
                codec.pack(codec.unpack(data))
                codec.unpack_batch(codec.pack_batch([codec.analyze(image, entropy=entropy)] * 2))
print([m for m in ("torch._dynamo", "sympy") if m in sys.modules])
"""


def test_small_pictures_do_not_wait_for_compilers(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
