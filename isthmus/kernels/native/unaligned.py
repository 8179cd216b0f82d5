# SPDX-License-Identifier: Apache-2.0
"""Eight bytes at any place of a byte array, as one load or store; numba has no spelling for it.

Nothing is checked: the caller sees to it that `at + 8` is at most the length of the array. Little-endian machines only,
which is asserted here.
"""

import sys
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

assert sys.byteorder == "little", "isthmus reads and writes streams and weights on little-endian machines only"


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), ir.IntType(64).as_pointer())


def _load64(typing_context: Any, array: Any, at: Any) -> Any:
    """uint64 of the eight bytes from array[at] on, lowest first; array: uint8, or of other integers."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=1)

    return types.uint64(array, types.uint64), build


def _store64(typing_context: Any, array: Any, at: Any, value: Any) -> Any:
    """array[at : at + 8] = the bytes of `value`, lowest first."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(context, builder, signature.args[0], *arguments[:2]), align=1)
        return context.get_dummy_value()

    return types.void(array, types.uint64, types.uint64), build


load64: Any = intrinsic(_load64)
store64: Any = intrinsic(_store64)
