# SPDX-License-Identifier: Apache-2.0
"""Counts and durations in the text format of Prometheus, which servers of metrics fetch."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """How many values were at most each of some bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts, self._sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, label: str) -> Iterator[str]:
        """label: as `stage="tail"`."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{label},le="{bound}"}} {total}'
        yield f"{name}_sum{{{label}}} {self._sum:.6f}"
        yield f"{name}_count{{{label}}} {total}"


class Metrics:
    """What a server tells of itself. stages: of which batches are told. queue: how many requests are inside.

    All of it is changed by the thread of the event loop alone.
    """

    def __init__(self, stages: Sequence[str], queue: Callable[[], int]) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()  # by path and status
        self.seconds = {stage: Histogram(SECONDS) for stage in (*stages, "total")}
        self.sizes = {stage: Histogram(SIZES) for stage in stages}
        self._queue = queue

    def batch(self, stage: str, size: int, seconds: float) -> None:
        """One batch more."""
        self.sizes[stage].add(size)
        self.seconds[stage].add(seconds)

    def request(self, path: str, status: int, seconds: float) -> None:
        """One request more; the durations are those of predictions that came to something."""
        self.requests[path, status] += 1
        if path == "/predict" and status == 200:
            self.seconds["total"].add(seconds)

    def text(self) -> str:
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield from _head("isthmus_requests_total", "counter", "Requests by path and status of their answer.")
        for (path, status), count in sorted(self.requests.items()):
            yield f'isthmus_requests_total{{path="{path}",status="{status}"}} {count}'
        yield from _head("isthmus_batch_size", "histogram", "Requests of a batch.")
        for stage, sizes in self.sizes.items():
            yield from sizes.lines("isthmus_batch_size", f'stage="{stage}"')
        yield from _head("isthmus_seconds", "histogram", "Of a batch by stage; total: of a request that was answered.")
        for stage, seconds in self.seconds.items():
            yield from seconds.lines("isthmus_seconds", f'stage="{stage}"')
        yield from _head("isthmus_queue_length", "gauge", "Requests that wait or are computed.")
        yield f"isthmus_queue_length {self._queue()}"


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
