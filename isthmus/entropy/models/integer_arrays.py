# SPDX-License-Identifier: Apache-2.0
"""A dataclass of integer arrays that a weights file holds, and that streams name by their hash."""

from dataclasses import fields
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import CorruptStreamError
from isthmus.lazy import cached_property

MAX_SHIFT = 14
MAX_LEVEL = 1 << 20  # of levels and offsets: their sum fits 32 bits

Expected = dict[str, tuple[type[np.integer[Any]], tuple[int, ...]]]


class IntegerArrays:
    """Base of the predictors of contexts, all of whose fields are arrays; the checks are those that they share."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, for safetensors."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over the arrays as the page's hash takes them."""
        digest = sha256()
        for array in self.to_arrays().values():
            digest.update(array.astype("<i4").tobytes())
        return digest.digest()

    def check_arrays(self, expected: Expected) -> None:
        """Raises CorruptStreamError for an array of another dtype or shape."""
        for name, (dtype, size) in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != size:
                raise CorruptStreamError(
                    f"weights file: context {name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {size}"
                )

    def check_ranges(self, mean_shift: NDArray[np.int32]) -> None:
        """Raises CorruptStreamError for fractional bits, offsets and levels that the page does not allow."""
        if mean_shift.min() < 0 or mean_shift.max() > MAX_SHIFT:
            raise CorruptStreamError(f"weights file: a mean has {mean_shift} fractional bits, expected 0..14")
        for name in ("scale_offset", "scale_levels"):
            array = getattr(self, name).astype(np.int64)
            if np.abs(array).max() > MAX_LEVEL:
                raise CorruptStreamError(f"weights file: context {name} goes beyond +-{MAX_LEVEL}")
