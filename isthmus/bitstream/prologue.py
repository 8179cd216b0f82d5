# SPDX-License-Identifier: Apache-2.0
"""The first five bytes of a stream, and what else a file may be that does not begin with them."""

from isthmus.bitstream.source import Source
from isthmus.errors import CorruptStreamError
from isthmus.signatures import resembles

MAGIC = b"\x89IST"
VERSION = 1
PROLOGUE = MAGIC + bytes([VERSION])


def read_prologue(source: Source) -> None:
    """Go past the prologue. Raises `CorruptStreamError` when it is not that of this version, saying what it may be."""
    head = bytes(source.up_to(len(PROLOGUE)))
    if not head:
        raise CorruptStreamError("the stream is empty: 0 bytes")
    if not head.startswith(MAGIC[: len(head)]):
        head += source.up_to(59)
        raise CorruptStreamError(f"not an isthmus stream: {resembles(head)}. To compress a file, encode it first")
    if len(head) < len(PROLOGUE):
        raise CorruptStreamError(f"the stream is too short: {len(head)} bytes, the prologue alone has {len(PROLOGUE)}")
    if head[4] != VERSION:
        advice = "upgrade isthmus to read it" if head[4] > VERSION else "no such version exists, it is damaged"
        raise CorruptStreamError(f"the stream is of format version {head[4]}, this isthmus reads {VERSION}: {advice}")
