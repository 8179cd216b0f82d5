# SPDX-License-Identifier: Apache-2.0
"""The entropy engine: integers to bytes and back through integer tables (docs/format-entropy.md).

No float past `quantize_pmf`, and no network that is not exact in integers.
"""

from isthmus.entropy.coders.rans import decode, encode, encode_segments
from isthmus.entropy.coders.rans_decoder import RansDecoder
from isthmus.entropy.models.integer_network import IntegerNetwork
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.quantize_pmf import quantize_pmf

__all__ = [
    "IntegerNetwork",
    "RansDecoder",
    "TableFamily",
    "decode",
    "encode",
    "encode_segments",
    "quantize_pmf",
]
