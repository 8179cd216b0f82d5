# SPDX-License-Identifier: Apache-2.0
"""The first five bytes of a stream, and what else a file may be that does not begin with them."""

from isthmus.bitstream.source import Source
from isthmus.errors import CorruptStreamError

MAGIC = b"\x89IST"
VERSION = 1
PROLOGUE = MAGIC + bytes([VERSION])
FOREIGN = (  # offset, first bytes, name: for the message only
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (8, b"WAVE", "a WAV recording"),
    (0, b"fLaC", "a FLAC recording"),
    (0, b"OggS", "an Ogg recording"),
    (0, b"ID3", "an MP3 recording"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyp", "an MP4, MOV or HEIF file"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (8, b'{"', "a safetensors file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"%PDF", "a PDF document"),
)


def read_prologue(source: Source) -> None:
    """Go past the prologue. Raises `CorruptStreamError` when it is not that of this version, saying what it may be."""
    head = bytes(source.up_to(len(PROLOGUE)))
    if not head:
        raise CorruptStreamError("the stream is empty: 0 bytes")
    if not head.startswith(MAGIC[: len(head)]):
        head += source.up_to(59)
        raise CorruptStreamError(f"not an isthmus stream: {_resembles(head)}. To compress a file, encode it first")
    if len(head) < len(PROLOGUE):
        raise CorruptStreamError(f"the stream is too short: {len(head)} bytes, the prologue alone has {len(PROLOGUE)}")
    if head[4] != VERSION:
        advice = "upgrade isthmus to read it" if head[4] > VERSION else "no such version exists, it is damaged"
        raise CorruptStreamError(f"the stream is of format version {head[4]}, this isthmus reads {VERSION}: {advice}")


def _resembles(head: bytes) -> str:
    for offset, magic, name in FOREIGN:
        if head.startswith(magic, offset):
            return f"it looks like {name}"
    if b"IST" in head[1:8]:
        return "it looks like a stream that was transferred as text; transfer it as binary"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "it looks like text"
    return f"it begins with {head[:8].hex(' ')}"
