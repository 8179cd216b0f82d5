# SPDX-License-Identifier: Apache-2.0
"""Views that cannot be written, so that numba compiles one kernel for arrays of both kinds."""

from typing import Any

from numpy.typing import NDArray


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view of `array` that cannot be written to."""
    view = array.view()
    view.setflags(write=False)
    return view
