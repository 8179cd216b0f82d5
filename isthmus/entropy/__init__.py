# SPDX-License-Identifier: Apache-2.0
"""The entropy engine: integers to bytes and back through integer tables. No network, no float past `quantize_pmf`."""

from isthmus.entropy.quantize_pmf import quantize_pmf
from isthmus.entropy.rans import RansDecoder, decode, encode, encode_segments
from isthmus.entropy.tables import TableFamily

__all__ = ["RansDecoder", "TableFamily", "decode", "encode", "encode_segments", "quantize_pmf"]
