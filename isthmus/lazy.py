# SPDX-License-Identifier: Apache-2.0
"""Sequences whose items are made when they are asked for."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class LazySequence(Sequence[Item]):
    """Indices and slices over `item`, which a child defines beside `__len__`."""

    @abstractmethod
    def item(self, place: int) -> Item:
        """Item `place`, 0 to len - 1."""

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        places = range(len(self))[place]  # raises IndexError beyond the last
        return [self.item(i) for i in places] if isinstance(places, range) else self.item(places)
