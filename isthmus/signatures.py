# SPDX-License-Identifier: Apache-2.0
"""What a file may be, by its first bytes: for messages, and for the kind of what it holds."""

import os

FOREIGN = (  # offset, first bytes, name
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
    (0, b"PK\x03\x04", "a zip archive, as PyTorch writes it"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"%PDF", "a PDF document"),
)


def mpeg_sound(head: bytes) -> str | None:
    """ "mp3" or "aac" for a file that begins with a frame of either, which 12 bits and few wrong values tell."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    rate, sampling = head[2] >> 4, head[2] >> 2 & 15  # bit rate and sampling rate of MPEG audio; the latter of ADTS
    if head[1] & 0xF6 == 0xF0:  # ADTS (ISO/IEC 13818-7, 6.2), of MPEG-4 or MPEG-2, with or without a checksum
        return "aac" if sampling < 13 else None
    if head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 0x08:  # layer III of MPEG-1, -2 or 2.5 (ISO/IEC 11172-3, 2.4.1.3)
        return "mp3" if 0 < rate < 15 and sampling & 3 != 3 else None
    return None


def head_of(path: str | os.PathLike[str]) -> bytes:
    """The first 64 bytes of a file; fewer where it is shorter, none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(64)
    except OSError:
        return b""


def resembles(head: bytes) -> str:
    """In words, from the first 16 bytes or more of a file."""
    if not head:
        return "it is empty"
    for offset, magic, name in FOREIGN:
        if head.startswith(magic, offset):
            return f"it looks like {name}"
    if found := mpeg_sound(head):
        return f"it looks like an {found.upper()} recording"
    if head.startswith(b"\x89IST"):
        return "it is an isthmus stream already: decode it"
    if b"IST" in head[1:8]:
        return "it looks like a stream that was transferred as text; transfer it as binary"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "it looks like text"
    return f"it begins with {head[:8].hex(' ')}"
