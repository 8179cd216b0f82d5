# SPDX-License-Identifier: Apache-2.0
"""A file that does not get smaller: as it was, but for the entry of the metadata, put into its header's text."""

import json
import re
from collections.abc import Mapping
from typing import Any

from isthmus.errors import CorruptStreamError
from isthmus.weights.folders.names import MARK
from isthmus.weights.safetensors_file import METADATA, parse_header

ALIGN = 8  # bytes by which the data may move
_METADATA = re.compile(rf'"{METADATA}"\s*:\s*\{{'.encode())


def insert_mark(header: bytes, mark: Mapping[str, Any]) -> bytes | None:
    """The header with the mark, to which its own place is added; None where the text is too odd for that."""
    found = _METADATA.search(header)
    at = found.end() if found else header.index(b"{") + 1
    comma = "" if header[at:].lstrip().startswith(b"}") else ","
    piece, text, length = b"", "", -1
    while len(piece) != length:  # as the mark says how long it is
        length = len(piece)
        text = json.dumps({**mark, "inserted": [at, length]}, separators=(",", ":"))
        entry = f"{json.dumps(MARK)}:{json.dumps(text)}"
        piece = ((entry if found else f'"{METADATA}":{{{entry}}}') + comma).encode()
        piece += b" " * (-len(piece) % ALIGN)
    made = header[:at] + piece + header[at:]
    try:
        return made if parse_header(made, "").metadata.get(MARK) == text else None
    except CorruptStreamError:
        return None


def remove_mark(header: bytes, place: tuple[int, int]) -> bytes:
    """The header that it was put into. place: what the mark says, where it begins and how long it is."""
    begin, length = place
    return header[:begin] + header[begin + length :]
