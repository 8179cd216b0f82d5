# SPDX-License-Identifier: Apache-2.0
"""Another tail for a head that is on devices already, from a data set of what it sends."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.codecs.registry import OF_RUN
from isthmus.datasets import LatentDataset
from isthmus.files import check_folder
from isthmus.training.heads import HeadRecipe, load_head, train_classifier


def train_tail_on(
    latents: LatentDataset, recipe: HeadRecipe, out: Path, *, init: Path, validation: LatentDataset | None = None,
    **running: Any,
) -> Path | None:  # fmt: skip
    """Trains the tail of a run on stored payloads, without its head; the file of the new head, None if time ran out.

    latents: what the run's codec sends of a data set: `transcode(..., codec=RUN)`. The codec goes along into `out`. The
    rest is as of `train_classifier`, which raises ValueError for latents of another codec.
    """
    facts = load_head(init)[1]
    path = train_classifier(latents, replace(recipe, head=facts.head), out, init=init, validation=validation, **running)
    codec = (init if init.is_dir() else init.parent) / OF_RUN
    if path is not None and codec.is_file():
        check_folder(out)
        shutil.copyfile(codec, out / OF_RUN)
    return path
