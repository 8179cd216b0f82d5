# SPDX-License-Identifier: Apache-2.0
"""A request's way: read, unpacked in a batch, through the head in a batch, told."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from starlette.requests import ClientDisconnect, Request
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.split.server.limits import Limits
from isthmus.split.server.metrics import Metrics
from isthmus.split.server.refusal import GONE, RefusalError, refusal_of
from isthmus.split.server.stage import Stage
from isthmus.split.server.tails import Tails
from isthmus.split.tail import Tail

BUSY = {"Retry-After": "1"}


class Found(NamedTuple):
    """Of one stream: logits by class, and shares with their classes, the largest first; all [outputs]."""

    logits: Tensor
    shares: Tensor
    places: Tensor


class Predictions:
    """Predictions of tails for requests, within limits. Of one event loop."""

    def __init__(self, tails: Tails, limits: Limits) -> None:
        self.tails, self.limits = tails, limits
        self._reading = self._inside = 0
        self.metrics = Metrics(("unpack", "tail"), lambda: self._inside)
        self._unpack: Stage[tuple[Tail, bytes], Tensor] = Stage(
            "unpack", self._unpacked, workers=limits.workers, most=limits.max_batch,
            key=lambda item: item[0], told=partial(self.metrics.batch, "unpack"),
        )  # fmt: skip
        self._network: Stage[tuple[Tail, Tensor], Found] = Stage(
            "tail", self._computed, workers=1, most=limits.max_batch, wait=limits.max_wait,
            key=lambda item: (item[0], item[1].shape), told=partial(self.metrics.batch, "tail"),
        )  # fmt: skip

    def close(self) -> None:
        """Ends the threads."""
        self._unpack.close()
        self._network.close()

    async def predict(self, request: Request, top: int, logits: bool, run: str | None = None) -> dict[str, Any]:
        """What a head says of the stream that a request brings: that of `run`, or the one for its codec.

        Raises RefusalError.
        """
        data = await self._body(request)
        self._check_room(self._inside)
        self._inside += 1
        try:
            tail = self.tails.of(data, run)
            latent = await self._unpack.do((tail, data))
            found = await self._network.do((tail, latent))
        except RefusalError:
            raise
        except Exception as error:
            raise refusal_of(error) from None
        finally:
            self._inside -= 1
        return self._told(tail, found, top, logits)

    def _check_room(self, there: int) -> None:
        if there >= self.limits.queue:
            raise RefusalError(429, f"{there} requests are at it already: send again later", BUSY)

    async def _body(self, request: Request) -> bytes:
        """The body, of which no more is read than is taken."""
        most, told = self.limits.max_body, request.headers.get("content-length", "0")
        self._check_room(max(self._inside, self._reading))
        if int(told) > most:
            self._too_large(request, told)
        self._reading += 1
        try:
            return await asyncio.wait_for(self._read(request, most), self.limits.patience)
        except (TimeoutError, asyncio.TimeoutError):  # not the same before Python 3.11
            told = f"the body did not come within {self.limits.patience:g} seconds: send it faster"
            raise RefusalError(408, told, {"Connection": "close"}) from None
        except ClientDisconnect:
            raise RefusalError(GONE, "the client left before its body was whole") from None
        finally:
            self._reading -= 1

    async def _read(self, request: Request, most: int) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                self._too_large(request, f"{size} or more")
            parts.append(part)
        return b"".join(parts)

    def _too_large(self, request: Request, size: str) -> None:
        # Who waits for leave to send its body must not take what it asks next for that body.
        headers = {"Connection": "close"} if "expect" in request.headers else {}
        raise RefusalError(413, f"a body of {size} bytes; at most {self.limits.max_body} are taken", headers)

    @staticmethod
    def _unpacked(items: list[tuple[Tail, bytes]]) -> Sequence[Tensor | IsthmusError]:
        latents, errors = items[0][0].unpack([data for _, data in items])
        rest = iter(latents)
        return [errors[place] if place in errors else next(rest) for place in range(len(items))]

    @staticmethod
    def _computed(items: list[tuple[Tail, Tensor]]) -> list[Found]:
        tail = items[0][0]
        logits = tail.logits(torch.stack([latent for _, latent in items]))
        shares, places = tail.facts.shares(logits).sort(descending=True)
        return [Found(*rows) for rows in zip(logits, shares, places, strict=True)]

    @staticmethod
    def _told(tail: Tail, found: Found, top: int, logits: bool) -> dict[str, Any]:
        ranked = zip(found.places[:top].tolist(), found.shares[:top].tolist(), strict=True)
        return {
            "top": [{"class": tail.names[place], "share": round(share, 6)} for place, share in ranked],
            **({"logits": found.logits.tolist()} if logits else {}),
            "head": tail.hash,
            "codec": tail.facts.codec,
        }
