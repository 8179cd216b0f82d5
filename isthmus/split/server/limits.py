# SPDX-License-Identifier: Apache-2.0
"""How much a server takes on."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """max_batch: streams or latents of a batch. max_wait: seconds that the first latent of a batch waits for others.

    max_body: bytes of a request. queue: requests that wait or are computed at once; as many may still be sending.
    workers: threads that unpack. patience: seconds that a client may take to send a request's head, and its body.
    Raises ValueError for values that serve nobody.
    """

    max_batch: int = 64
    max_wait: float = 0.005
    max_body: int = 1 << 20
    queue: int = 256
    workers: int = 2
    patience: float = 10.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value < 0 or (value == 0 and f.name != "max_wait"):
                raise ValueError(f"split serve: {f.name} {value}, expected more than 0")
