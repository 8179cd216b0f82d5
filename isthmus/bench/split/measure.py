# SPDX-License-Identifier: Apache-2.0
"""What ways cost on this machine, and how right they are."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.bench.runs import one_thread
from isthmus.bench.split.ways import Way
from isthmus.progress import each
from isthmus.training.heads.evaluation import Evaluated, evaluated

STEPS = ("head", "pack", "unpack", "tail")
AT_ONCE = 32


@dataclass(frozen=True)
class Measured:
    """seconds: of each step, [4, pictures], one picture at a time on one thread. sizes: bytes of each picture."""

    way: Way
    seconds: NDArray[np.float64]
    sizes: NDArray[np.int64]
    judged: Evaluated | None

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = {"way": self.way.name, "setting": self.way.setting, "bytes": float(self.sizes.mean())}
        for step, row in zip(STEPS, self.seconds * 1e3, strict=True):
            found |= {f"{step}_p50_ms": float(np.median(row)), f"{step}_p95_ms": float(np.quantile(row, 0.95))}
        return found | (self.judged.describe() if self.judged is not None else {})


@torch.inference_mode()
def measure(ways: Sequence[Way], pictures: Tensor, labels: NDArray[np.int64] | None, timed: int) -> list[Measured]:
    """All ways on pictures uint8 [n, 3, h, w]: right on all of them where there are labels, timed on the first ones.

    Timed by turns, so that what else the machine does falls on all alike.
    """
    timed = min(timed, len(pictures))
    seconds = np.zeros((len(ways), len(STEPS), timed))
    with one_thread():
        for way in ways:
            _once(way, pictures[0])  # what is compiled or allocated the first time
        for number, picture in enumerate(each(pictures[:timed], "pictures", what="timing")):
            for place, way in enumerate(ways):
                seconds[place, :, number] = _once(way, picture)
        judged = [_judge(way, pictures[:timed], labels, pictures) for way in each(ways, "ways", what="judging")]
    return [Measured(way, times, *found) for way, times, found in zip(ways, seconds, judged, strict=True)]


def _judge(
    way: Way, timed: Tensor, labels: NDArray[np.int64] | None, pictures: Tensor
) -> tuple[NDArray[np.int64], Evaluated | None]:
    """Bytes of each picture, and how right the way is on those with labels."""
    streams = [way.pack(way.compute(picture)) for picture in (timed if labels is None else pictures)]
    sizes = np.array([len(data) if way.sends else 0 for data in streams], np.int64)
    if labels is None:
        return sizes, None
    batches = [streams[start : start + AT_ONCE] for start in range(0, len(streams), AT_ONCE)]
    logits = torch.cat([way.answer(torch.stack([way.unpack(data) for data in batch])) for batch in batches])
    return sizes, evaluated(logits.cpu(), labels)


def _once(way: Way, picture: Tensor) -> list[float]:
    """Seconds of each step."""
    times = [time.perf_counter()]
    computed = way.compute(picture)
    times.append(time.perf_counter())
    data = way.pack(computed)
    times.append(time.perf_counter())
    read = way.unpack(data)
    times.append(time.perf_counter())
    way.answer(read[None])
    times.append(time.perf_counter())
    return np.diff(times).tolist()
