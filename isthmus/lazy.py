# SPDX-License-Identifier: Apache-2.0
"""What is made when it is asked for: items of sequences, properties, names of packages."""

import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, overload

from isthmus.forks import first_use

Item = TypeVar("Item")

if TYPE_CHECKING:
    from functools import cached_property as cached_property
else:

    class cached_property:  # noqa: N801  # as functools spells it
        """That of functools as of Python 3.12, without the lock that a forked child would wait for.

        Threads that ask at the same time may each make the value; the first one stays.
        """

        def __init__(self, make: Callable[[Any], Any]) -> None:
            self._make, self.__doc__ = make, make.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            return instance.__dict__.setdefault(self._name, self._make(instance))


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


def names_on_demand(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names `places` are imported when they are first asked for.

    places: the module that has each name. None may be called as a module within the package, whose import would hide
    it.
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with first_use:
            found = getattr(import_module(places[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return find, lambda: sorted({*vars(sys.modules[package]), *places})
