# SPDX-License-Identifier: Apache-2.0
"""Shifts of 32-bit integers that stay 32 bits wide; numba widens to 64, which halves what a vector holds."""

from typing import Any

from numba import types
from numba.extending import intrinsic


def _shift_right(typing_context: Any, value: Any, bits: Any) -> Any:
    """int32 value >> bits, 0 to 31, rounding towards minus infinity."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ashr(*arguments)

    return types.int32(types.int32, types.int32), build


def _shift_left(typing_context: Any, value: Any, bits: Any) -> Any:
    """int32 value << bits, 0 to 31, modulo 2**32."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.shl(*arguments)

    return types.int32(types.int32, types.int32), build


shift_right: Any = intrinsic(_shift_right)
shift_left: Any = intrinsic(_shift_left)
