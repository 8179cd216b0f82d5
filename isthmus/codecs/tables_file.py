# SPDX-License-Identifier: Apache-2.0
"""The entropy models of images in a trained file: `tables.*`, and `context.*` where contexts were trained."""

from typing import Any

from isthmus.codecs.trained_file import TrainedFile
from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.entropy.tables.family import TableFamily
from isthmus.errors import CorruptStreamError


def read_entropy(file: TrainedFile, channels: int) -> tuple[FactorizedModel, ContextModel | None]:
    """Those of so many channels. Raises CorruptStreamError where there are none, or others."""
    tables, contexts = file.integers("tables."), file.integers("context.")
    if "expected" not in tables:
        raise CorruptStreamError(f"{file.path}: no entropy tables in this file; was the training finished?")
    try:
        entropy = FactorizedModel(TableFamily.from_arrays(tables), tables["expected"])
        context = ContextModel.from_arrays(contexts) if contexts else None
    except TypeError as error:  # an array without axes
        raise CorruptStreamError(f"{file.path}: entropy tables of wrong shapes: {error}") from error
    for found in (entropy.expected.shape[1], context.predictor.channels if context else None):
        if found not in (None, channels):
            raise CorruptStreamError(f"{file.path}: tables for {found} channels do not fit the model")
    return entropy, context


def entropy_arrays(entropy: FactorizedModel, context: ContextModel | None) -> dict[str, Any]:
    """What `read_entropy` reads, by name."""
    arrays = entropy.family.to_arrays() | {"expected": entropy.expected}
    contexts = context.to_arrays() if context else {}
    return {f"tables.{k}": v for k, v in arrays.items()} | {f"context.{k}": v for k, v in contexts.items()}
