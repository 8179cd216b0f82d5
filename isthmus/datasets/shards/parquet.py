# SPDX-License-Identifier: Apache-2.0
"""Shards as Parquet."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

from isthmus.datasets.shards.info import KEY, ShardInfo
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError, MissingExtraError

ROWS = 256  # of a row group: what is read at once where payloads cannot be read one by one
PAGE = 1 << 20


def pyarrow() -> Any:
    """The package. Raises MissingExtraError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(f"Parquet files need pyarrow ({error}): pip install 'isthmus[data]'") from error
    return pyarrow


def schema(columns: Mapping[str, str]) -> Any:
    """Of columns by name, types spelled as pyarrow's `DataType` prints them; keys and payloads are never null."""
    pa = pyarrow()
    return pa.schema([
        pa.field(name, pa.type_for_alias(kind), nullable=name not in ("key", "payload", "view"))
        for name, kind in columns.items()
    ])  # fmt: skip


def write(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], info: ShardInfo) -> BytesIO:
    """Rows and what is said of them as one file. Raises ValueError for values that are not of their column's type."""
    pa = pyarrow()
    made, layout = BytesIO(), schema(columns)
    others = [name for name in columns if name != "payload"]
    with pa.parquet.ParquetWriter(
        made, layout, version="2.6", data_page_version="1.0", data_page_size=PAGE,
        compression={"payload": "NONE", **dict.fromkeys(others, "ZSTD")},
        use_dictionary=[name for name in others if name != "key"], write_statistics=others,
    ) as writer:  # fmt: skip
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            try:
                arrays = [pa.array([row.get(f.name) for row in part], f.type) for f in layout]
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
                raise ValueError(f"{part[0]['key']} and what follows: columns do not fit: {error}") from error
            writer.write_table(pa.Table.from_arrays(arrays, schema=layout))
        writer.add_key_value_metadata({KEY: info.pack()})
    made.seek(0)
    return made


def open_parquet(place: Place, name: str) -> Any:
    """A `pyarrow.parquet.ParquetFile`, to be closed. Raises UnreadableFileError, CorruptStreamError."""
    pa = pyarrow()
    file = place.open(name)
    try:
        # Not read ahead: threads of pyarrow would do that, and end a Python that ends before them.
        found = pa.parquet.ParquetFile(file, pre_buffer=False)
        found._close_source = True  # else a file that was opened by others stays open
        return found
    except (pa.ArrowException, OSError) as error:
        file.close()
        raise CorruptStreamError(f"{place.name(name)}: not a whole Parquet file ({error}): make it again") from error


def read_info(place: Place, name: str) -> ShardInfo:
    """What a shard says of itself. Raises CorruptStreamError for Parquet from elsewhere, or a count that is not so."""
    with open_parquet(place, name) as file:
        return info_of(file, place.name(name))


def info_of(file: Any, name: str) -> ShardInfo:
    """The same of a file that is open; `name` for messages."""
    told = (file.metadata.metadata or {}).get(KEY.encode())
    if told is None:
        raise CorruptStreamError(f"{name}: no shard of a data set of latents: its metadata has no {KEY!r}")
    info, count = ShardInfo.unpack(told, name), file.metadata.num_rows
    if info.count != count:
        raise CorruptStreamError(f"{name}: {count} rows, it says {info.count}: make it again")
    return info


def rows(place: Place, name: str) -> Iterator[dict[str, Any]]:
    """Its rows in order."""
    with open_parquet(place, name) as file:
        try:
            for batch in file.iter_batches(ROWS):
                yield from batch.to_pylist()
        except (pyarrow().ArrowException, OSError) as error:
            raise CorruptStreamError(f"{place.name(name)}: damaged ({error}): make it again") from error
