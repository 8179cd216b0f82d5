# SPDX-License-Identifier: Apache-2.0
"""Where the payloads lie in a Parquet file, so that one of them is read alone.

Parquet has no index of values. But a column of bytes that is neither compressed nor encoded is a row of pages, each a
header and then the values, each behind its length in four bytes: what `isthmus transcode` writes. Of any other column
`plain` says so, and it is read by row groups.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus.datasets.latents.stored.thrift import read_struct
from isthmus.errors import CorruptStreamError

MOST_HEADER = 1 << 12  # bytes; statistics of a page may hold values
DATA_PAGE, PLAIN = 0, 0  # of Parquet's enumerations
Reader: TypeAlias = Callable[[int, int], bytes]  # offset, size -> bytes, fewer at the end of the file


class Chunk(NamedTuple):
    """A column of a row group: where its pages begin, their bytes with headers, its values."""

    begin: int
    size: int
    values: int

    @classmethod
    def of(cls, column: Any) -> "Chunk":
        """Of pyarrow's metadata, which keep those of the whole file in memory."""
        return cls(column.data_page_offset, column.total_compressed_size, column.num_values)


def plain(column: Any) -> bool:
    """Whether the values of a column chunk (pyarrow's metadata of it) lie in its pages as they are."""
    encodings = set(column.encodings) - {
        "RLE",
        "BIT_PACKED",
    }  # of levels, which a required column has not
    bare = column.compression == "UNCOMPRESSED" and encodings == {"PLAIN"}
    return bare and column.physical_type == "BYTE_ARRAY" and not column.has_dictionary_page


def value_places(read: Reader, column: Chunk) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Offsets and lengths of all values of a `plain`, required column chunk in its file.

    None for pages of a kind that is read by pyarrow alone. Raises CorruptStreamError where lengths do not add up.
    """
    at, count, end = column.begin, column.values, column.begin + column.size
    offsets: list[int] = []
    lengths: list[int] = []
    while len(offsets) < count:
        head = read(at, min(MOST_HEADER, end - at))
        fields, size = read_struct(head)
        page = fields.get(5)
        if fields.get(1) != DATA_PAGE or not isinstance(page, dict) or page.get(2) != PLAIN:
            return None
        stored, values = fields.get(3), page.get(1)
        at += size
        if not isinstance(stored, int) or not isinstance(values, int) or stored < 4 * values or at + stored > end:
            raise CorruptStreamError(f"the page of payloads at byte {at} does not fit its row group")
        if not 0 < values <= count - len(offsets):
            raise CorruptStreamError(f"the page of payloads at byte {at} says {values} values")
        _walk(read(at, stored), at, values, offsets, lengths)
        at += stored
    if at != end:
        raise CorruptStreamError(f"{end - at} bytes follow the last payload of a row group at byte {at}")
    return np.array(offsets, np.int64), np.array(lengths, np.int64)


def _walk(page: bytes, begin: int, values: int, offsets: list[int], lengths: list[int]) -> None:
    """Adds places of the values of a page that begins at byte `begin` of its file."""
    at, size = 0, len(page)
    for _ in range(values):
        length = int.from_bytes(page[at : at + 4], "little")
        at += 4
        offsets.append(begin + at)
        lengths.append(length)
        at += length
        if at > size:
            break
    if at != size:
        raise CorruptStreamError(
            f"the lengths of payloads in the page at byte {begin} do not add up to its {size} bytes"
        )
