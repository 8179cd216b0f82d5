# SPDX-License-Identifier: Apache-2.0
"""What is said of each file that was made."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Done:
    """A file that was made, or (`skipped`) was there already and is whole.

    source_bytes, target_bytes: sizes before and after; when compressing, source_bytes of what was compressed already is
    the size of its original.

    copied: it was copied as it is: compressed already when compressing, plain when decompressing, or no shard. kept:
    dtypes that are never coded, such as those of integers or one that this version does not know, and how many tensors
    of each were kept as they are; when compressing.
    """

    source: Path
    target: Path
    source_bytes: int
    target_bytes: int
    skipped: bool = False
    kept: dict[str, int] = field(default_factory=dict)
    copied: bool = False


Told = Callable[[Done], None]
