# SPDX-License-Identifier: Apache-2.0
"""Sixteen integers at once, where the compiler does not see that it may; numba has no spelling for it.

Nothing is checked: the caller sees to it that the places exist.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

WIDE = 16


def _add_wide(typing_context: Any, to: Any, source: Any, at: Any) -> Any:
    """to[:16] += source[at : at + 16]; contiguous int32 arrays that do not overlap."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(32), WIDE).as_pointer()
        arrays = [
            context.make_array(t)(context, builder, a) for t, a in zip(signature.args, arguments[:2], strict=False)
        ]
        total = builder.bitcast(arrays[0].data, vector)
        more = builder.bitcast(builder.gep(arrays[1].data, [arguments[2]]), vector)
        builder.store(builder.add(builder.load(total, align=4), builder.load(more, align=4)), total, align=4)
        return context.get_dummy_value()

    return types.void(to, source, types.uint64), build


add_wide: Any = intrinsic(_add_wide)
