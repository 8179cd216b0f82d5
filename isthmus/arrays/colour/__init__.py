# SPDX-License-Identifier: Apache-2.0
"""What image files say of their colour, and how it becomes 8-bit sRGB: converted, or refused, never left unsaid.

declared     what a Pillow image says: which of several statements counts
code_points  numbers of ITU-T H.273 (PNG `cICP`, AVIF `nclx`) to a `Space`
profile      ICC profiles of curves and a matrix to a `Space`
space        curves and primaries; what is sRGB already, by content
convert      samples of a `Space` to sRGB
littlecms    samples under any other ICC profile to sRGB
"""


class ColourWarning(UserWarning):
    """Colours were converted in a way that may not be exact: CMYK, clipped to sRGB, or a damaged profile left out."""
