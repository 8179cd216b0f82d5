# SPDX-License-Identifier: Apache-2.0
"""Actors of a Ray cluster: one that is there (RAY_ADDRESS), or a local one that is begun for the run.

Ray Data is not used: its checkpoints resumed nothing when they were tried; what is done is read from the destination.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from isthmus.datasets.engines.base import PATIENCE
from isthmus.datasets.work import Done, Job, Task, build_shard
from isthmus.errors import MissingExtraError

AHEAD = 2  # tasks that an actor has before it: the next one is there when it has done one


class ShardActor:
    """One process of the cluster."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def build(self, task: Task) -> Done:
        return build_shard(self.job, task)


class RayEngine:
    """workers: actors, None as many as the cluster has cores, or GPUs for `device` "cuda" (a fraction shares one)."""

    def __init__(self, workers: int | None, device: str = "cpu") -> None:
        _ray()  # missing, it is missed before a source is listed
        self.workers, self.device = workers, device

    def run(self, job: Job, tasks: Iterable[Task]) -> Iterator[Done | tuple[Task, str]]:
        """See `Engine`. Raises ValueError for places that only this process sees."""
        ray = _ray()
        if job.destination.of_this_process or job.source.of_this_process:
            raise ValueError("engine ray: memory:// is of this process alone; use engine local")
        begun = not ray.is_initialized()
        if begun:
            ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
        try:
            yield from self._run(ray, job, iter(tasks))
        finally:
            if begun:
                ray.shutdown()

    def _run(self, ray: Any, job: Job, tasks: Iterator[Task]) -> Iterator[Done | tuple[Task, str]]:
        gpus = ray.cluster_resources().get("GPU", 0) if self.device != "cpu" else 0
        workers = self.workers or max(1, int(gpus or ray.cluster_resources().get("CPU", 1)))
        share = min(1.0, gpus / workers) if gpus else 0
        actor = ray.remote(num_cpus=1, num_gpus=share, max_restarts=-1)(ShardActor)
        actors = [actor.remote(job) for _ in range(workers)]  # not by `ray.put`, which restarts would not survive
        under_way: dict[Any, tuple[int, Task]] = {}  # of results
        deaths: Counter[int] = Counter()
        again: list[Task] = []
        while True:
            load = Counter(place for place, _ in under_way.values())
            for place in sorted(range(workers), key=lambda place: load[place]):
                while load[place] < AHEAD:
                    task = again.pop() if again else next(tasks, None)
                    if task is None:
                        break
                    under_way[actors[place].build.remote(task)] = place, task
                    load[place] += 1
            if not under_way:
                return
            for result in ray.wait(list(under_way), num_returns=1)[0]:
                place, task = under_way.pop(result)
                try:
                    yield ray.get(result)
                except ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None
                except ray.exceptions.RayError as error:  # the actor, or its machine, is gone; it is begun again
                    deaths[task.shard] += 1
                    if deaths[task.shard] < PATIENCE * AHEAD:
                        again.append(task)
                    else:
                        yield task, f"its actor died {deaths[task.shard]} times: {error}"


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(f"engine ray needs Ray ({error}): pip install 'isthmus[ray]'") from error
    return ray
