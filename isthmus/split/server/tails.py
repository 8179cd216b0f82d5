# SPDX-License-Identifier: Apache-2.0
"""Which of a server's tails a stream is for."""

from collections.abc import Mapping
from typing import Any

from isthmus.bitstream.reader import read_header
from isthmus.errors import WeightsMismatchError
from isthmus.split.server.refusal import RefusalError
from isthmus.split.tail import Tail


class Tails:
    """Tails by name, the first of which is the usual one; each stream goes to the first that reads its codec."""

    def __init__(self, tails: Tail | Mapping[str, Tail]) -> None:
        self.by_name = {"": tails} if isinstance(tails, Tail) else dict(tails)
        if not self.by_name:
            raise ValueError("split serve: no tail to serve")

    def named(self, name: str | None) -> Tail:
        """One by name, the usual one for None. Raises RefusalError."""
        if name is None:
            return next(iter(self.by_name.values()))
        if name not in self.by_name:
            raise RefusalError(422, f"run={name}: there are {', '.join(filter(None, self.by_name)) or 'no names here'}")
        return self.by_name[name]

    def of(self, data: bytes, name: str | None) -> Tail:
        """That of a stream. Raises RefusalError for a name that is not there, IsthmusError for a stream of none."""
        if name is not None or len(self.by_name) == 1:
            return self.named(name)
        header = read_header(data)
        for tail in self.by_name.values():
            if tail.reads(header):
                return tail
        expected = "; ".join(f"{name}: {tail.facts.codec['name']}" for name, tail in self.by_name.items())
        raise WeightsMismatchError(
            f"sent: a stream of {header.codec_id}, tables {header.tables_hash}, weights {header.weights_hash}; "
            f"expected one of {expected}: encode with such a codec"
        )

    def describe(self, name: str | None) -> dict[str, Any]:
        """What devices must know to send to one, and which others there are."""
        names = [name for name in self.by_name if name]
        return {**self.named(name).describe(), **({"runs": names} if names else {})}
