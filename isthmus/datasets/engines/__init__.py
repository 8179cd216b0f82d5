# SPDX-License-Identifier: Apache-2.0
"""Who does the work on shards: processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations  # `server` is begun before anything heavy is imported

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isthmus.datasets.engines.base import Engine

ENGINES = ("local", "ray")


def open_engine(name: str, workers: int | None, device: str = "cpu") -> Engine:
    """An engine by name. workers: processes or actors; 0 of `local` works in this process. Raises ValueError."""
    if name not in ENGINES:
        raise ValueError(f"engine {name!r}, expected one of {', '.join(ENGINES)}")
    if workers is not None and workers < (0 if name == "local" else 1):
        raise ValueError(f"workers {workers}, expected {0 if name == 'local' else 1} or more")
    if name == "ray":
        from isthmus.datasets.engines.ray import RayEngine

        return RayEngine(workers, device)
    from isthmus.datasets.engines.local import LocalEngine

    return LocalEngine(workers)
