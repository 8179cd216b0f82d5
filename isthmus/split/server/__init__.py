# SPDX-License-Identifier: Apache-2.0
"""A server for the tail of a network: `isthmus split serve` (docs/split.md)."""

from typing import TYPE_CHECKING

from isthmus.errors import MissingExtraError
from isthmus.split.server.limits import Limits
from isthmus.split.tail import Tail

if TYPE_CHECKING:
    from isthmus.split.server.serving import Serving

__all__ = ["Limits", "open_server"]


def open_server(
    tail: Tail, host: str = "127.0.0.1", port: int = 8080, *, limits: Limits | None = None, token: str | None = None
) -> "Serving":
    """A server that has its port; port 0 takes any that is free. `run()` serves until `stop()`.

    Raises MissingExtraError without the packages of the extra `serve`, ValueError where the port is not to be had.
    """
    try:
        from isthmus.split.server.serving import Serving
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "isthmus":
            raise
        raise MissingExtraError(f"split serve needs the package {error.name}: pip install 'isthmus[serve]'") from error
    return Serving(tail, host, port, limits or Limits(), token)
