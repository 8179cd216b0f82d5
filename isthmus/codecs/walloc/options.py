# SPDX-License-Identifier: Apache-2.0
"""What callers may choose when they decode images."""

from dataclasses import dataclass
from typing import Literal

from isthmus.arrays.image import MAX_PIXELS
from isthmus.options import DecodeOptions, option


@dataclass(frozen=True)
class ImageDecodeOptions(DecodeOptions):
    """Pixels from the network or without it, and in which shape."""

    synthesis: Literal["network", "linear"] = option(
        "network", "linear leaves the network out: a preview at about the speed of encoding."
    )
    max_pixels: int = option(MAX_PIXELS, "Streams of larger images are refused, before memory is taken.", low=1)
    output: Literal["torch", "numpy", "pil"] = option("torch", "What samples are given as.", flag=False)
