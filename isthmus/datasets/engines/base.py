# SPDX-License-Identifier: Apache-2.0
"""What every engine does."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from isthmus.datasets.work import Done, Job, Task

PATIENCE = 3  # deaths of processes at one task until it is given up, or at one item until that is


class Engine(Protocol):
    """Tasks in any order, each once."""

    def run(self, job: Job, tasks: Iterable[Task]) -> Iterator[Done | tuple[Task, str]]:
        """What became of each as it ends; of one that could not be done, why. Raises what the work itself raises."""
