# SPDX-License-Identifier: Apache-2.0
"""A generator of load for `isthmus split serve`, in a process of its own and with as little work as it can.

    python benchmarks/shared/load.py HOST PORT PAYLOADS CONNECTIONS SECONDS RATE

PAYLOADS: a pickled list of bytes. RATE 0: each of so many connections asks again once it is answered; else so many
requests a second at even times, over as many connections as they need, and each takes as long as from when it was due.
Prints JSON. Needs Python 3.11.
"""

import asyncio
import json
import pickle
import sys
import time
from collections import Counter
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
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

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

    async def opened(self, due: float) -> None:
        """One request at its time, over the connection that was used last, or one more."""
        streams = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port)
        await self.ask(*streams, due)
        self.idle.append(streams)

    async def all_opened(self, begin: float, rate: float) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * self.seconds)):
                due = begin + number / rate
                await asyncio.sleep(max(0, due - time.perf_counter()))
                group.create_task(self.opened(due))

    async def run(self, connections: int, rate: float) -> dict[str, object]:
        begin = time.perf_counter() + 0.1
        if rate:
            work = [self.all_opened(begin, rate)]
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
