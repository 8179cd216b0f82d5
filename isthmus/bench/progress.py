# SPDX-License-Identifier: Apache-2.0
"""Progress of measurements, on standard error: a bar on terminals, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

EVERY = 30.0  # seconds between lines


@contextmanager
def progress(total: int, unit: str) -> Iterator[Callable[[str], None]]:
    """Gives what is called after each of `total` steps, with words for it."""
    done, told = 0, time.monotonic()
    with tqdm(total=total, unit=unit, disable=None, file=sys.stderr) as bar:

        def advance(label: str) -> None:
            nonlocal done, told
            done += 1
            bar.set_description_str(label, refresh=False)
            bar.update()
            now = time.monotonic()
            if bar.disable and now - told >= EVERY:
                told = now
                print(f"isthmus: {done} of {total} {unit}s, the last: {label}", file=sys.stderr, flush=True)

        yield advance
