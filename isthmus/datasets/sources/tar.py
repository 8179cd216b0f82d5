# SPDX-License-Identifier: Apache-2.0
"""WebDataset: tars whose members of one name, up to the first dot of its last part, are one sample."""

import json
import re
import tarfile
from collections.abc import Iterator
from typing import Any

from isthmus.datasets.sources.base import ContainerSource, Found, Item, known_label
from isthmus.datasets.storage import Place
from isthmus.errors import UnreadableFileError
from isthmus.media.kinds import room

MOST_BESIDE = 1 << 16  # bytes of a label or of JSON


class TarSource(ContainerSource):
    """Tars of a folder, or one. A member of the kind is the sample, `cls` its label; `json` is kept as text."""

    def __init__(self, place: Place, names: list[str], kind: str) -> None:
        self.place, self.names, self.kind, self.what = place, names, kind, f"{kind} files"
        self.suffixes = room(kind).SUFFIXES
        self.description: Any = {"tars": place.url, "names": names, "kind": kind}
        self.columns = {"json": "string"}

    def within(self, name: str) -> Iterator[Item]:
        group: dict[str, Any] = {}
        stamp = self.place.stamp(name)
        with self.place.open(name) as file:
            try:
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    for member in tar:
                        if not member.isfile() or re.match(r"__[^/]*__($|/)", member.name):
                            continue
                        key, _, kind = _split(member.name)
                        if group and group["key"] != key:
                            yield from self._sample(name, stamp, group)
                            group = {}
                        group.setdefault("key", key)
                        if f".{kind.rsplit('.', 1)[-1]}" in self.suffixes and "member" not in group:
                            group["member"] = [name, member.offset_data, member.size, f".{kind}"]
                        elif kind in ("cls", "json") and member.size <= MOST_BESIDE:
                            opened = tar.extractfile(member)
                            group[kind] = opened.read() if opened else b""
            except (tarfile.TarError, EOFError) as error:
                yield from self._sample(name, stamp, group)
                yield Item(
                    f"{name}: from here on",
                    0,
                    stamp,
                    where=[name, 0, 0, ""],
                    broken=f"the tar is cut or damaged: {error}",
                )
                return
        yield from self._sample(name, stamp, group)

    def _sample(self, name: str, stamp: str, group: dict[str, Any]) -> Iterator[Item]:
        if not group:
            return
        key, label, kept = group["key"], None, {}
        broken = None if "member" in group else f"no {self.kind} file among its members in {name}"
        where = group.get("member", [name, 0, 0, ""])
        try:
            if "cls" in group:
                label = int(group["cls"])
            if "json" in group:
                text = group["json"].decode()
                kept = {"json": text}
                told = json.loads(text)
                if label is None and isinstance(told, dict) and type(told.get("label")) is int:
                    label = told["label"]
        except (ValueError, RecursionError) as error:
            broken = broken or f"its label or JSON cannot be read: {error}"
        yield Item(key, where[2], stamp, known_label(label), where, kept, broken)

    def find(self, item: Item) -> Found:
        name, offset, size, suffix = item.where
        with self.place.open(name) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise UnreadableFileError(
                f"{self.place.name(name)}: ends within {item.key}: it was cut since it was listed"
            )
        return Found(data, suffix)


def _split(name: str) -> tuple[str, str, str]:
    """Name, dot and kind of a member, at the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    stem, dot, kind = last.partition(".")
    return f"{folder}{slash}{stem}", dot, kind.lower()
