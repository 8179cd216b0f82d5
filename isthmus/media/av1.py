# SPDX-License-Identifier: Apache-2.0
"""What AV1 itself states of its colour, in the sequence header (AV1 5.5): it counts where no box does (AVIF 2.2.1)."""

_SEQUENCE_HEADER = 1


class _Bits:
    """Bits of bytes, the highest first. Raises IndexError behind the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def __call__(self, count: int = 1) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1
            self.at += 1
        return value

    def uvlc(self) -> None:
        zeros = 0
        while not self():
            zeros += 1
        self(min(zeros, 32))


def colour_of(obus: bytes) -> tuple[int, int] | None:
    """Colour primaries and transfer function by H.273, of the first sequence header of what begins with `obus`.

    None where there is no such header or it states no colour. Raises ValueError where it is cut off.
    """
    try:
        at = 0
        while at < len(obus):
            kind, extended, sized = obus[at] >> 3 & 15, obus[at] >> 2 & 1, obus[at] >> 1 & 1
            at += 1 + extended
            size, shift = 0, 0
            while sized:
                size |= (obus[at] & 127) << shift
                at, shift, sized = at + 1, shift + 7, obus[at] >> 7
            if kind == _SEQUENCE_HEADER:
                return _of_sequence_header(_Bits(obus[at : at + size] if size else obus[at:]))
            if not size and kind != 2:  # a temporal delimiter is empty
                return None
            at += size
    except IndexError:
        raise ValueError("its AV1 sequence header is cut off") from None
    return None


def _of_sequence_header(bits: _Bits) -> tuple[int, int] | None:
    profile, _, reduced = bits(3), bits(), bits()
    if reduced:
        bits(5)
    else:
        _skip_operating_points(bits)
    wide, high = bits(4) + 1, bits(4) + 1
    bits(wide + high)
    if not reduced and bits():  # frame numbers
        bits(7)
    bits(3)
    if not reduced:
        _skip_tools(bits)
    bits(3)
    deep = bits()
    if profile == 2 and deep:
        bits()
    if profile != 1:
        bits()  # monochrome
    return (bits(8), bits(8)) if bits() else None


def _skip_operating_points(bits: _Bits) -> None:
    model, delay = 0, 0
    if bits():  # timing
        bits(64)
        if bits():
            bits.uvlc()
        model = bits()
        if model:
            delay = bits(5) + 1
            bits(42)
    display = bits()
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits()
        if model and bits():
            bits(2 * delay + 1)
        if display and bits():
            bits(4)


def _skip_tools(bits: _Bits) -> None:
    bits(4)
    order = bits()
    if order:
        bits(2)
    screen = 1 if bits() else bits()
    if screen and not bits():
        bits()
    if order:
        bits(3)
