# SPDX-License-Identifier: Apache-2.0
"""A server for the tail of a network: `isthmus split serve` (docs/split.md)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isthmus.errors import MissingExtraError
from isthmus.split.server.limits import Limits
from isthmus.split.tail import Tail

if TYPE_CHECKING:
    from isthmus.split.server.serving import Serving

__all__ = ["Limits", "open_server"]


def open_server(
    tails: Tail | Mapping[str, Tail], host: str = "127.0.0.1", port: int = 8080, *, limits: Limits | None = None,
    token: str | None = None,
) -> "Serving":  # fmt: skip
    """A server that has its port; port 0 takes any that is free. `run()` serves until `stop()`.

    tails: one, or some by name: a stream goes to the one that its request names, or to the first that reads its codec.
    Raises MissingExtraError without the packages of the extra `serve`, ValueError where the port is not to be had.
    """
    try:
        from isthmus.split.server.serving import Serving
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "isthmus":
            raise
        raise MissingExtraError(f"split serve needs the package {error.name}: pip install 'isthmus[serve]'") from error
    return Serving(tails, host, port, limits or Limits(), token)
