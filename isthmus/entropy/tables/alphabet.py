# SPDX-License-Identifier: Apache-2.0
"""Whether symbols lie in the alphabets of their tables."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.numbers import as_array


def check_inside(symbols: Any, table_indices: Any, low: NDArray[np.int32], size: NDArray[np.int32]) -> None:
    """Raises ValueError for the first symbol outside its table of those that begin at `low`, or index without one."""
    given, named = as_array(symbols), as_array(table_indices)
    for array, what in ((given, "symbols"), (named, "table indices")):
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"entropy tables: {what} are {array.dtype}, expected integers")
    values, k = (a.reshape(-1) for a in np.broadcast_arrays(given, named))
    if values.size == 0:
        return
    if k.min() < 0 or k.max() >= len(low):
        bad = k[(k < 0) | (k >= len(low))][0]
        raise ValueError(f"entropy tables: table index {bad}, but the family has {len(low)} tables")
    first = low[k].astype(np.int64)
    outside = np.flatnonzero((values < first) | (values >= first + size[k]))
    if outside.size:
        i = outside[0]
        raise ValueError(
            f"entropy tables: symbol {values[i]} at flat index {i} is outside table {k[i]}, which codes "
            f"{first[i]}..{first[i] + size[k[i]] - 1} without an escape"
        )
