# SPDX-License-Identifier: Apache-2.0
"""Files of a training, read one after another; what cannot be read is left out, and said."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from isthmus.errors import UnreadableFileError
from isthmus.progress import each

Sample = TypeVar("Sample")


def listing(files: Sequence[Path], folder: Path) -> str:
    """What tells the files of a training from others: how many, and a hash of their names and sizes."""
    told = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    return f"{len(files)} files, {sha256(os.fsencode(told)).hexdigest()[:16]}"


def read_each(load: Callable[[Path], Sample], files: Sequence[Path], what: str) -> Iterator[Sample]:
    """`load` of each of the files, with progress; warns in the end of how many cannot be read.

    what: in words, such as images. Raises UnreadableFileError if none can.
    """
    refused: list[UnreadableFileError] = []
    for path in each(files, what, what="reading"):
        try:
            yield load(path)
        except UnreadableFileError as error:
            refused.append(error)
    if refused and len(refused) == len(files):
        raise refused[0]
    if refused:
        warnings.warn(f"{len(refused)} of {len(files)} {what} are left out; the first: {refused[0]}", stacklevel=3)
