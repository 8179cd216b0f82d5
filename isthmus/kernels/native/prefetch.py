# SPDX-License-Identifier: Apache-2.0
"""Asking for memory before it is needed; numba has no spelling for it.

The processor fetches the line (64 bytes on most) that holds a byte of an array while it goes on with other work. Any
place may be asked for: beyond the array nothing happens.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

KEEP, DATA = 2, 1  # of `llvm.prefetch`: into the second level of caches; data, not instructions


def _ask(context: Any, builder: Any, array_type: Any, array: Any, at: Any, *, write: int) -> Any:
    byte = ir.IntType(8).as_pointer()
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(builder.module, kind, "llvm.prefetch.p0")
    data = builder.bitcast(context.make_array(array_type)(context, builder, array).data, byte)
    builder.call(function, [builder.gep(data, [at]), *(ir.Constant(number, n) for n in (write, KEEP, DATA))])
    return context.get_dummy_value()


def _prefetch(typing_context: Any, array: Any, at: Any) -> Any:
    """Byte `at` of an array, uint64, will be read."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _ask(context, builder, signature.args[0], *arguments, write=0)

    return types.void(array, types.uint64), build


def _prefetch_to_write(typing_context: Any, array: Any, at: Any) -> Any:
    """Byte `at` of an array, uint64, will be written."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _ask(context, builder, signature.args[0], *arguments, write=1)

    return types.void(array, types.uint64), build


prefetch: Any = intrinsic(_prefetch)
prefetch_to_write: Any = intrinsic(_prefetch_to_write)
