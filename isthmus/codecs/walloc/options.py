# SPDX-License-Identifier: Apache-2.0
"""What callers may choose when they encode and decode images."""

from dataclasses import dataclass
from typing import Literal

from isthmus.arrays.image import MAX_PIXELS
from isthmus.options import DecodeOptions, Options, option


@dataclass(frozen=True)
class ImageOptions(Options):
    """The quality is the one option byte of a stream; which entropy model it uses is its codec id."""

    quality: int = option(50, "1 to 100, larger is better.", low=1, high=100, short="q", stored=True)
    background: str | None = option(None, "Colour to lay transparent images on, such as white; else they are refused.")
    entropy: Literal["context", "factorized"] | None = option(
        None, "context makes the smallest streams, with factorized tables where these are smaller; the default where "
        "the weights hold contexts. factorized packs and unpacks several times faster.",
    )  # fmt: skip


@dataclass(frozen=True)
class ImageDecodeOptions(DecodeOptions):
    """Pixels from the network or without it, and in which shape."""

    synthesis: Literal["network", "linear"] = option(
        "network", "linear leaves the network out: a preview at about the speed of encoding."
    )
    max_pixels: int = option(MAX_PIXELS, "Streams of larger images are refused, before memory is taken.", low=1)
    output: Literal["torch", "numpy", "pil"] = option("torch", "What samples are given as.", flag=False)
