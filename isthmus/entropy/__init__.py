# SPDX-License-Identifier: Apache-2.0
"""The entropy engine: integers to bytes and back through integer tables (docs/format-entropy.md).

No float past `quantize_pmf`, and no network that is not exact in integers.
"""

from typing import TYPE_CHECKING

from isthmus.entropy.coders.rans import decode, encode, encode_segments
from isthmus.entropy.coders.rans_decoder import RansDecoder
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.quantize_pmf import quantize_pmf
from isthmus.lazy import names_on_demand

if TYPE_CHECKING:
    from isthmus.entropy.models.integer_network import IntegerNetwork
else:  # it needs torch
    __getattr__, __dir__ = names_on_demand(__name__, {"IntegerNetwork": "isthmus.entropy.models.integer_network"})

__all__ = [
    "IntegerNetwork",
    "RansDecoder",
    "TableFamily",
    "decode",
    "encode",
    "encode_segments",
    "quantize_pmf",
]
