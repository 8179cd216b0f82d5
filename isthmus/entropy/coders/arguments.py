# SPDX-License-Identifier: Apache-2.0
"""Checked arguments of the coders: symbols and table indices as the kernels take them.

Arrays are handed on read-only, so that each kernel is compiled for one kind of array alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.numbers import as_array
from isthmus.entropy.tables.family import TableFamily
from isthmus.kernels.native.read_only import read_only


def as_integers(values: Any, what: str) -> NDArray[Any]:
    """Integer array of a numpy array, a torch tensor or a sequence. Raises TypeError for other dtypes."""
    array = as_array(values)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{what}: got dtype {array.dtype}, expected integers")
    return array


def flat_symbols(values: Any, what: str = "rans.encode: symbols") -> NDArray[Any]:
    """Flat contiguous int16 or int32 symbols; raises ValueError for those that do not fit int32."""
    array = as_integers(values, what)
    if array.dtype not in (np.int16, np.int32):
        if array.size and (int(array.min()) < -(2**31) or int(array.max()) >= 2**31):
            raise ValueError(f"{what} do not fit 32-bit signed integers")
        array = array.astype(np.int32)
    return read_only(np.ascontiguousarray(array).reshape(-1))


def flat_indices(values: Any, shape: tuple[int, ...], tables: TableFamily) -> tuple[NDArray[np.uint16], int]:
    """Table indices as the kernels take them: one index with step 0, or one a symbol with step 1.

    Raises TypeError for other dtypes, ValueError for an index without a table or shapes that do not broadcast.
    """
    array = as_integers(values, "rans: table indices")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= len(tables)):
        raise ValueError(f"rans: table indices {array.min()}..{array.max()}, but the family has {len(tables)} tables")
    if array.ndim == 0:
        return read_only(array.astype(np.uint16).reshape(1)), 0
    return read_only(np.ascontiguousarray(np.broadcast_to(array, shape), dtype=np.uint16).reshape(-1)), 1
