# SPDX-License-Identifier: Apache-2.0
"""The header of a track, as a frozen dataclass and as the bytes of docs/format.md, "Track header"."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from isthmus.signals import Signal, from_stream, take, unpack_signal
from isthmus.varint import BytesLike

HEADER_LIMIT = 2**16  # bytes of a whole track header, options included
NO_HASH = "00000000"
_CODEC_ID = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*")
_HASH = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class TrackHeader:
    """The opening of a track: which codec, tables and weights it needs, what signal it holds.

    `codec_id`: 1 to 32 characters such as `walloc.1`. `tables_hash`, `weights_hash`: 8 lower-case hexadecimal digits,
    `NO_HASH` for none. `options`: bytes that the codec defines; the packed header is at most `HEADER_LIMIT` bytes.
    """

    codec_id: str
    tables_hash: str
    weights_hash: str
    signal: Signal
    options: bytes = b""

    def __post_init__(self) -> None:
        if not (_CODEC_ID.fullmatch(self.codec_id) and len(self.codec_id) <= 32):
            raise ValueError(f"codec_id is {self.codec_id!r}, must be 1 to 32 of a-z and 0-9 in parts joined by dots")
        for name in ("tables_hash", "weights_hash"):
            if not _HASH.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}, must be 8 lower-case hexadecimal digits")
        if not isinstance(self.signal, Signal):
            raise TypeError(f"signal is a {type(self.signal).__name__}, must be one of the signal classes")
        if not isinstance(self.options, bytes):
            raise TypeError(f"options are {type(self.options).__name__}, must be bytes")
        if len(self.pack()) > HEADER_LIMIT:
            raise ValueError(f"{len(self.options)} bytes of options make the header longer than {HEADER_LIMIT} bytes")

    def pack(self) -> bytes:
        name, hashes = self.codec_id.encode("ascii"), bytes.fromhex(self.tables_hash + self.weights_hash)
        return bytes([len(name)]) + name + hashes + self.signal.pack() + self.options

    @classmethod
    def unpack(cls, payload: BytesLike) -> "TrackHeader":
        """The header in the payload of an `H` chunk. Raises `CorruptStreamError`."""
        return _unpack_header(bytes(payload[: HEADER_LIMIT + 1]))

    def describe(self) -> dict[str, Any]:
        """The header as a dict of JSON values; a hash of zeros becomes `None`, options become hexadecimal."""
        return {
            "codec_id": self.codec_id,
            "tables_hash": None if self.tables_hash == NO_HASH else self.tables_hash,
            "weights_hash": None if self.weights_hash == NO_HASH else self.weights_hash,
            "signal": self.signal.describe(),
            "options": self.options.hex(),
        }


@lru_cache(maxsize=256)  # the streams of a data set have few headers, and reading one takes longer than a small image
def _unpack_header(payload: bytes) -> TrackHeader:
    length = take(payload, 0, 1, "codec id length")[0]
    name = take(payload, 1, length, "codec id")
    hashes = take(payload, 1 + length, 8, "hashes").hex()
    signal, offset = unpack_signal(payload, 9 + length)
    with from_stream():
        return TrackHeader(name.decode("latin-1"), hashes[:8], hashes[8:], signal, payload[offset:])
