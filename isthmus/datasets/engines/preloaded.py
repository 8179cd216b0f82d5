# SPDX-License-Identifier: Apache-2.0
"""What workers need, imported once by the server that forks them.

Nothing is looked through for cycles meanwhile, which takes a fifth of the time, and what is there then never is again:
so its pages stay shared.
"""

import contextlib
import gc
from importlib import import_module

NAMES = (
    "isthmus.datasets.work", "isthmus.codecs.walloc", "isthmus.media.image", "numba", "numba.np.arraymath",
    "numba.np.ufunc", "numba.cpython.builtins", "PIL.Image", "pyarrow.parquet",
)  # fmt: skip

gc.disable()
for _name in NAMES:
    with contextlib.suppress(ImportError):  # those that are missing are not needed, or are missed by who needs them
        import_module(_name)
gc.freeze()
gc.enable()
