# SPDX-License-Identifier: Apache-2.0
"""Writes `isthmus/kernels/rans/unrolled.py`: the rANS loops for 32 lanes with the states in local variables.

python tools/generate_rans.py

LLVM cannot keep an array of states in registers, since a store to another array might change it; with local variables
32 lanes decode about 1.3 times as fast. numba's cache needs a real file: so the result is committed, and names the
digest of `lanes.py`, whose functions are compiled into it. A test compares the file with what this tool writes.
"""

import hashlib
from pathlib import Path

LANES = 32
KERNELS = Path(__file__).parents[1] / "isthmus" / "kernels" / "rans"
TARGET = KERNELS / "unrolled.py"

HEADER = '''# SPDX-License-Identifier: Apache-2.0
# fmt: off
"""Written by tools/generate_rans.py for the lanes.py of SHA-256 {digest}...; do not edit.

The loops of `lanes` for 32 lanes, with the states in local variables. The symbols before the first of lane 0, and
those after the last whole step of 32, go through the loops there.
"""

import numpy as np

from isthmus.kernels.compiled import kernel
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.kernels.rans.lanes import IS_ESCAPE, U32, U64, fill_escapes, pop, pop_packed, pop_small, push

LANES = {lanes}
WORD_PADDING = rans_lanes.WORD_PADDING
decode_any = rans_lanes.decode_rest
encode_any = rans_lanes.encode
'''

ENCODE = '''

@kernel
def encode(entries, first, rows, precision, states, words, at):  # type: ignore[no-untyped-def]
    """As `rans_lanes.encode`, for 32 states."""
    limit, total = U32(31 - precision), U32(1 << precision)
    head = min(-first & {mask}, len(entries))
    end = len(entries) - ((len(entries) - head) & {mask})
    at = U64(encode_any(entries[end:], first + end, rows, precision, states, words, at))
{load}
    while end > head:
        end -= {lanes}
        e = entries[end : end + {lanes}]
{steps}
{store}
    return encode_any(entries[:head], first, rows, precision, states, words, np.int64(at))
'''

DECODE = '''

@kernel
def {name}(  # type: ignore[no-untyped-def]
    indices, {argument}first, tables, states, words, escapes, at, escape_at, out
):
    """As `rans_lanes.decode` with a step of {step}, for 32 states{note}."""
    precision, low, size, starts, slots, entries = tables
{setup}
    begin, last = min(-first & {mask}, len(out)), np.int64(len(words) - WORD_PADDING)
    if begin > 0:
        at, escape_at = decode_any(indices, {step}, first, tables, states, words, escapes, at, escape_at, out[:begin])
        if at < 0 or escape_at < 0:
            return at, escape_at
{load}
    place, end = U64(at), U64(last)
    while begin + {lanes} <= len(out) and place <= end and escape_at >= 0:
        o = out[begin : begin + {lanes}]{slices}
{before}
{steps}
        if {escaped}:
            escape_at = fill_escapes(o, {indices}, {step}, low, size, escapes, escape_at)
        begin += {lanes}
{store}
    at = np.int64(place) if place <= end else np.int64(-1)
    if begin == len(out) or at < 0 or escape_at < 0:
        return at, escape_at
    return decode_any({rest}, {step}, first + begin, tables, states, words, escapes, at, escape_at, out[begin:])
'''


def _states(left: str, right: str) -> str:
    """Assignments of all states, four a line."""
    lines = []
    for first in range(0, LANES, 4):
        some = range(first, first + 4)
        lines.append(f"    {', '.join(left.format(k) for k in some)} = {', '.join(right.format(k) for k in some)}")
    return "\n".join(lines)


def _decoder(name: str, argument: str, note: str, slices: str, step: int, call: str, small: bool = False) -> str:
    lines = []
    for k in range(LANES):
        lines += [
            f"        row, x{k}, place = {call.format(k)}",
            f"        o[{k}] = {'base + np.int32(row)' if small else 'np.int64(row) >> 32'}",
            f"        seen {'= max(seen, row)' if small else '|= row'}",
        ]
    setup = "    shift, mask = U32(precision), U32((1 << precision) - 1)"
    return DECODE.format(
        name=name,
        argument=argument,
        note=note,
        slices=slices,
        step=step,
        setup="    base, beyond = low[indices[0]], U32(size[indices[0]])" if small else setup,
        before=f"        seen = {'U32' if small else 'U64'}(0)",
        escaped="seen == beyond" if small else "seen & IS_ESCAPE",
        indices="d" if step else "indices",
        rest="indices[begin:]" if step else "indices",
        steps="\n".join(lines),
        **_shared(),
    )


def _shared() -> dict[str, object]:
    return {
        "lanes": LANES,
        "mask": LANES - 1,
        "load": _states("x{}", "states[{}]"),
        "store": _states("states[{}]", "x{}"),
    }


def source() -> str:
    """The whole file."""
    digest = hashlib.sha256((KERNELS / "lanes.py").read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:8]
    pushes = [f"        x{k}, at = push(x{k}, U64(e[{k}]), rows, limit, total, words, at)" for k in range(LANES)]
    each = "pop(x{0}, d[{0}], starts, slots, entries, mask, shift, words, place)"
    run = "pop_packed(x{0}, packed, mask, shift, words, place)"
    small = "pop_small(x{0}, small, words, place)"
    return "".join(
        (
            HEADER.format(digest=digest, lanes=LANES),
            ENCODE.format(steps="\n".join(reversed(pushes)), **_shared()),
            _decoder("decode_each", "", "", f"\n        d = indices[begin : begin + {LANES}]", 1, each),
            _decoder("decode_run", "packed, ", "; packed: `pack_slots` of the one table", "", 0, run),
            _decoder("decode_small", "small, ", "; small: `pack_small` of the one table", "", 0, small, small=True),
        )
    )


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8", newline="\n")
