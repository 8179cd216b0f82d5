# SPDX-License-Identifier: Apache-2.0
"""Answers that say no, in one line, by what is at fault."""

import json
from collections.abc import Mapping

from starlette.responses import Response

from isthmus.errors import IsthmusError, UnknownCodecError, WeightsMismatchError

GONE = 499  # what others write into their logs for a client that left; nobody receives it


class RefusalError(Exception):
    """An answer of some status with one line. headers: beside the usual ones."""

    def __init__(self, status: int, told: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(told)
        self.status, self.headers = status, headers

    @property
    def answer(self) -> Response:
        told = " ".join(str(self).split())
        return as_json({"error": told}, self.status, self.headers)


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(value, ensure_ascii=False).encode()
    return Response(content, status, dict(headers or {}), media_type="application/json")


def refusal_of(error: Exception) -> RefusalError:
    """Of what a stage has raised for a stream."""
    if isinstance(error, UnknownCodecError | WeightsMismatchError):
        return RefusalError(409, str(error))
    if isinstance(error, IsthmusError):
        return RefusalError(400, str(error))
    if isinstance(error, MemoryError):
        told = f"out of memory: {error}: send again later; start the server with a smaller --max-batch"
        return RefusalError(503, told, {"Retry-After": "1"})
    return RefusalError(500, f"the head fails on such latents: {type(error).__name__}; the server's log tells more")
