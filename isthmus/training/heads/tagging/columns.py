# SPDX-License-Identifier: Apache-2.0
"""Tags of samples, from a column of text that a table passed through: "Dog,Bark" or "Dog; Bark"."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isthmus.datasets.latents.dataset import LatentDataset

ADVICE = "expected tags between , or ; in a column of the table that was transcoded (docs/transcode.md)"


def read_tags(data: LatentDataset, column: str) -> list[list[str]]:
    """The tags of every sample, each once; none where the column is empty. Raises ValueError, which says what to do."""
    try:
        values = data.column(column)
    except ValueError as error:
        raise ValueError(f"{error}: {ADVICE}") from None
    found = []
    for place, value in enumerate(values):
        if not isinstance(value, str | None):
            raise ValueError(f"{data.path}: column {column!r} of sample {place} holds {value!r}: {ADVICE}")
        found.append(list(dict.fromkeys(tag for part in re.split("[,;]", value or "") if (tag := part.strip()))))
    if not any(found):
        raise ValueError(f"{data.path}: column {column!r} is empty in all {len(found)} samples: {ADVICE}")
    return found


def classes_of(tags: Sequence[Sequence[str]], path: str, column: str) -> list[str]:
    """All tags, sorted. Raises ValueError for fewer than two, of which there is nothing to tell apart."""
    names = sorted({tag for each in tags for tag in each})
    if len(names) < 2:
        raise ValueError(f"{path}: column {column!r} has one tag only, {names[0]!r}: expected two or more")
    return names


def targets_of(tags: Sequence[Sequence[str]], classes: Sequence[str], path: str) -> NDArray[np.float32]:
    """1 where a sample has a tag, else 0: float32 [n, classes]. Raises ValueError for a tag that is no class."""
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = sorted({tag for each in tags for tag in each if tag not in numbers})
    if unknown:
        raise ValueError(
            f"{path}: tag {unknown[0]!r} is none of the {len(classes)} that the head was trained on"
            + (f", and so are {len(unknown) - 1} more" if len(unknown) > 1 else "")
        )
    made = np.zeros((len(tags), len(classes)), np.float32)
    for row, each in zip(made, tags, strict=True):
        row[[numbers[tag] for tag in each]] = 1
    return made
