# SPDX-License-Identifier: Apache-2.0
"""Memory that a thread uses again and again: fresh pages would cost as much as filling them."""

import threading

import numpy as np
from numpy.typing import NDArray

_local = threading.local()


def scratch(name: str, size: int) -> NDArray[np.uint8]:
    """uint8 [size or more], this thread's own under that name; what it holds is whatever was left there."""
    held: NDArray[np.uint8] | None = getattr(_local, name, None)
    if held is None or len(held) < size:
        held = np.empty(size, np.uint8)
        setattr(_local, name, held)
    return held
