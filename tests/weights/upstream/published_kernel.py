# SPDX-License-Identifier: Apache-2.0
"""How the published DFloat11 kernel reads a module: a thread takes 8 bytes, from its gap on, a block its positions."""

import numpy as np

from isthmus.weights.upstream.block import UpstreamBlock


def look_up(luts: np.ndarray, window: int) -> tuple[int, int]:
    """Exponent and length of the code at the top of 32 bits, through the rows of luts alone."""
    row = 0
    for level in range(4):
        value = int(luts[row, window >> (24 - 8 * level) & 255])
        if value < 240:
            return value, int(luts[-1, value])
        row = 256 - value
    raise AssertionError("pointers lead on after 32 bits")


def decode(block: UpstreamBlock) -> np.ndarray:
    """uint16 [n]. Fails where a thread would stand still, or a block finds other weights than its positions say."""
    bits = "".join(format(byte, "08b") for byte in block.encoded_exponent) + "0" * 96
    gaps = "".join(format(byte, "08b") for byte in block.gaps)
    positions = block.output_positions.view("<u4").tolist()
    n, end = len(block), 8 * len(block.encoded_exponent)
    exponents: list[int] = []
    for chunk in range(len(positions) - 1):
        found: list[int] = []
        for thread in range(block.threads_per_block):
            window = chunk * block.threads_per_block + thread
            at = 64 * window + int(gaps[5 * window : 5 * window + 5], 2)
            while at < min(64 * window + 64, end):
                exponent, length = look_up(block.luts, int(bits[at : at + 32], 2))
                assert length > 0
                found.append(exponent)
                at += length
        wanted = positions[chunk + 1] - positions[chunk]
        assert positions[chunk] == len(exponents)
        assert len(found) == wanted or (positions[chunk + 1] == n and len(found) >= wanted)
        exponents += found[:wanted]
    rest = block.sign_mantissa.astype(np.uint16)
    return (rest & 128) << 8 | np.array(exponents, np.uint16) << 7 | rest & 127
