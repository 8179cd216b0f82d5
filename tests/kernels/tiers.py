# SPDX-License-Identifier: Apache-2.0
"""Work done by kernels alone, or by their plain twins alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from isthmus.errors import IsthmusError
from isthmus.kernels import tier


@contextmanager
def plainly(always: bool = True) -> Iterator[None]:
    with patch.object(tier, "plain", lambda kernel, seconds: always):
        yield


@contextmanager
def compiled() -> Iterator[None]:
    with plainly(False):
        yield


def both(work: Callable[[], Any]) -> tuple[Any, Any]:
    """What work gives plainly and compiled; errors that callers may meet count as results."""
    found = []
    for tier_of in (plainly, compiled):
        with tier_of():
            try:
                found.append(work())
            except (IsthmusError, ValueError) as error:
                found.append((type(error), str(error)))
    return found[0], found[1]
