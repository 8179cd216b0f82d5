# SPDX-License-Identifier: Apache-2.0
"""A generator of load for `isthmus split serve`, in a process of its own and with as little work as it can.

    python benchmarks/shared/load.py HOST PORT PAYLOADS CONNECTIONS SECONDS RATE

PAYLOADS: a pickled list of bytes. RATE 0: every connection asks again once it is answered; else so many requests a
second at even times, and each takes as long as from when it was due. Prints JSON.
"""

import asyncio
import json
import pickle
import sys
import time
from collections import Counter, deque
from pathlib import Path

import numpy as np

AFTER = 30.0  # seconds that the last answers may take


class Load:
    """Connections that ask and what came of it; seconds are of requests that were due within the measurement."""

    def __init__(self, host: str, port: int, payloads: list[bytes], seconds: float) -> None:
        self.host, self.port, self.seconds = host, port, seconds
        self.requests = [
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(one) + one for one in payloads
        ]
        self.statuses: Counter[str] = Counter()
        self.took: list[float] = []
        self.count, self.last = 0, 0.0

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, due: float) -> None:
        self.count += 1
        writer.write(self.requests[self.count % len(self.requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        self.last = time.perf_counter()
        self.took.append(self.last - due)
        self.statuses[head[9:12].decode()] += 1

    async def closed(self, end: float) -> None:
        """One connection that asks again and again."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        while time.perf_counter() < end:
            await self.ask(reader, writer, time.perf_counter())
        writer.close()

    async def opened(self, due: "deque[float]") -> None:
        """One connection that takes what is due next."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        while due:
            at = due.popleft()
            pause = at - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            await self.ask(reader, writer, at)
        writer.close()

    async def run(self, connections: int, rate: float) -> dict[str, object]:
        begin = time.perf_counter() + 0.1
        if rate:
            due = deque(begin + number / rate for number in range(int(rate * self.seconds)))
            work = [self.opened(due) for _ in range(connections)]
        else:
            work = [self.closed(begin + self.seconds) for _ in range(connections)]
        told = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), self.seconds + AFTER)
        broken = Counter(type(one).__name__ for one in told if isinstance(one, BaseException))
        p50, p95, p99 = (round(float(np.percentile(self.took, p)) * 1e3, 1) for p in (50, 95, 99))
        return {
            "per_s": round(len(self.took) / (self.last - begin), 2), "seconds": round(self.last - begin, 1),
            "statuses": dict(self.statuses), "broken_connections": dict(broken), "p50_ms": p50, "p95_ms": p95,
            "p99_ms": p99, "generator_cpu_s": round(time.process_time(), 1),
        }  # fmt: skip


if __name__ == "__main__":
    host, port, payloads, connections, seconds, rate = sys.argv[1:]
    load = Load(host, int(port), pickle.loads(Path(payloads).read_bytes()), float(seconds))
    print(json.dumps(asyncio.run(load.run(int(connections), float(rate)))))
