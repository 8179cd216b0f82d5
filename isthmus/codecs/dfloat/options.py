# SPDX-License-Identifier: Apache-2.0
"""What callers may choose when they encode tensors."""

from dataclasses import dataclass
from typing import Literal

from isthmus.options import Options, option


@dataclass(frozen=True)
class TensorOptions(Options):
    """The one option byte of a stream: its mode, 0 or 1."""

    mode: Literal["huffman", "rans"] = option(
        "huffman", "huffman decodes fastest; rans is about 0.3 % smaller.", short="m", stored=True
    )
