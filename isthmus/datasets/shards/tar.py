# SPDX-License-Identifier: Apache-2.0
"""Shards as WebDataset: tars whose members of one name are one sample."""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any
from urllib.parse import quote

from isthmus.datasets.shards.info import ShardInfo
from isthmus.datasets.storage import Place
from isthmus.errors import CorruptStreamError

INFO = "__isthmus__/__shard__.json"


def member_name(row: Mapping[str, Any]) -> str:
    """What the members of a row are called: readers cut a name at the first dot of its last part."""
    parts = [quote(part, safe=" ").replace(".", "%2E") for part in str(row["key"]).split("/")]
    view = row.get("view")
    name = "/".join(part if part else "%2F" for part in parts)
    return f"{name}@{view}" if view else name


def write(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], info: ShardInfo) -> BytesIO:
    """Rows and what is said of them as one file."""
    made = BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, data: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, BytesIO(data))

        add(INFO, info.pack().encode())
        for row in rows:
            name = member_name(row)
            add(f"{name}.ist", row["payload"])
            if row.get("label") is not None:
                add(f"{name}.cls", str(row["label"]).encode())
            others = {k: row.get(k) for k in columns if k != "payload"}
            add(f"{name}.json", json.dumps(others, ensure_ascii=False).encode())
    made.seek(0)
    return made


def _members(place: Place, name: str) -> Iterator[tuple[str, bytes]]:
    with place.open(name) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|") as tar:
                for entry in tar:
                    opened = tar.extractfile(entry)
                    if opened is not None:
                        yield entry.name, opened.read()
        except (tarfile.TarError, EOFError) as error:
            raise CorruptStreamError(f"{place.name(name)}: not a whole tar ({error}): make it again") from error


def read_info(place: Place, name: str) -> ShardInfo:
    """What a shard says of itself. Raises CorruptStreamError for a tar from elsewhere."""
    first, data = next(_members(place, name), ("", b""))
    if first != INFO:
        raise CorruptStreamError(f"{place.name(name)}: no shard of a data set of latents: it begins with {first!r}")
    return ShardInfo.unpack(data, place.name(name))


def rows(place: Place, name: str) -> Iterator[dict[str, Any]]:
    """Its rows in order. Raises CorruptStreamError for one that is cut."""
    payload, count = b"", 0
    for member, data in _members(place, name):
        if member.endswith(".ist"):
            payload = data
        elif member.endswith(".json") and member != INFO:
            count += 1
            try:
                yield {**json.loads(data), "payload": payload}
            except ValueError as error:
                raise CorruptStreamError(f"{place.name(name)}: {member} is damaged ({error})") from error
    told = read_info(place, name).count
    if count != told:
        raise CorruptStreamError(f"{place.name(name)}: {count} samples, it says {told}: make it again")
