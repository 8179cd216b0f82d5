# SPDX-License-Identifier: Apache-2.0
"""Metadata: a JSON object in UTF-8, about a track or the whole stream."""

import json
from collections.abc import Mapping
from typing import Any

from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike


def pack_metadata(value: Mapping[str, Any]) -> bytes:
    """The payload of an `m` chunk. Raises `ValueError` for NaN and infinities, `TypeError` for what JSON lacks."""
    return json.dumps(dict(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def unpack_metadata(payload: BytesLike) -> dict[str, Any]:
    """The JSON object in the payload of an `m` chunk. Raises `CorruptStreamError` for anything else."""
    try:
        value = json.loads(bytes(payload).decode("utf-8"), parse_constant=int)  # int refuses NaN
    except (ValueError, RecursionError) as refusal:
        raise CorruptStreamError(f"metadata is not JSON in UTF-8: {refusal}") from None
    if not isinstance(value, dict):
        raise CorruptStreamError(f"metadata is a JSON {type(value).__name__}, expected an object")
    return value
