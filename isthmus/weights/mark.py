# SPDX-License-Identifier: Apache-2.0
"""What compressed safetensors files say of themselves: an entry of their metadata, and the original header."""

import json
import re
import zlib
from typing import Any

from isthmus.codecs.dfloat.coding import MODES
from isthmus.errors import CorruptStreamError
from isthmus.weights.folders.names import MARK
from isthmus.weights.inserted_mark import remove_mark
from isthmus.weights.raw_checks import DIGITS
from isthmus.weights.safetensors_file import HEADER_LIMIT, SafetensorsFile

FORMAT, HEADER = "dfloat.1", "dfloat.header"
_CHECKS = re.compile(rf"(?:[0-9a-f]{{{DIGITS}}})+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse_mark(file: SafetensorsFile) -> dict[str, Any]:
    """The entry `dfloat` of the metadata, with every key that may be left out.

    Raises CorruptStreamError where it is missing, damaged, or of a format that this version does not know.
    """
    text = file.header.metadata.get(MARK)
    if text is None:
        raise CorruptStreamError(f"{file.path}: no compressed weights; make them with `isthmus weights compress`")
    try:
        mark = json.loads(text)
        mark = {
            "base": {},
            "delta": {},
            "index": False,
            "inserted": None,
            "include": [],
            "exclude": [],
            "checks": None,
            **mark,
        }
        known = mark["format"] == FORMAT
        whole = (
            mark["mode"] in MODES
            and isinstance(mark["index"], bool)
            and all(type(mark[key]) is int and mark[key] >= 0 for key in ("header_bytes", "bytes"))
            and all(_SHA256.fullmatch(s) for s in (mark["sha256"], *mark["base"].values()))
            and all(mark["delta"][name] in mark["base"] for name in mark["delta"])
            and mark["header_bytes"] <= HEADER_LIMIT
            and all(isinstance(pattern, str) for key in ("include", "exclude") for pattern in mark[key])
            and _is_place(mark["inserted"])
            and (mark["checks"] is None or _CHECKS.fullmatch(mark["checks"]))
            and (mark["inserted"] is not None or HEADER in file.tensors)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        known = whole = False
    if not (known and whole):
        what = "is damaged" if known else f"is not of format {FORMAT}; a newer isthmus may read it"
        raise CorruptStreamError(f"{file.path}: the metadata entry {MARK!r} {what}")
    return mark


def _is_place(inserted: Any) -> bool:
    """Whether this is what the mark may say about where it was put into the original header."""
    return inserted is None or (len(inserted) == 2 and all(type(n) is int and 0 <= n <= HEADER_LIMIT for n in inserted))


def original_header(file: SafetensorsFile, mark: dict[str, Any]) -> bytes:
    """The header of the file that a compressed one was made from. Raises CorruptStreamError for damage."""
    if mark["inserted"] is None:
        return _inflate(file, mark["header_bytes"])
    header = remove_mark(file.header_bytes, mark["inserted"])
    if len(header) != mark["header_bytes"]:
        raise CorruptStreamError(f"{file.path}: the header without its entry {MARK!r} is not the original's")
    return header


def _inflate(file: SafetensorsFile, length: int) -> bytes:
    """The original header."""
    inflater = zlib.decompressobj()
    try:
        header = inflater.decompress(file.data(HEADER).tobytes(), length + 1)
    except zlib.error:
        header = b""
    if len(header) != length or not inflater.eof:
        raise CorruptStreamError(f"{file.path}: tensor {HEADER!r} does not hold {length} bytes; fetch the file again")
    return header
