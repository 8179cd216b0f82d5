# SPDX-License-Identifier: Apache-2.0
"""The trained parts of a bottleneck: the head, with its linear picture, and the entropy tables.

Keys of a file: `model.*` (the state of `models.bottleneck.BottleneckHead`, float32), `tables.*` (a `TableFamily`) and
`tables.expected`, integers, and, where contexts were trained, `context.*` (a `ContextModel`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.codecs.tables_file import entropy_arrays, read_entropy
from isthmus.codecs.trained_file import TrainedFile, hash_tensors, save_trained
from isthmus.entropy.models.context import ContextModel
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.errors import CorruptStreamError
from isthmus.lazy import cached_property
from isthmus.models.bottleneck import BottleneckConfig, BottleneckHead

LIMITS = {"channels": 256, "width": 1024, "gain_levels": 100}  # a damaged file cannot take all memory


@dataclass(frozen=True, eq=False)
class BottlefitWeights:
    """What one trained file holds."""

    head: BottleneckHead
    entropy: FactorizedModel
    context: ContextModel | None = None

    @cached_property
    def weights_hash(self) -> str:
        """Of the head and its linear picture."""
        return hash_tensors(self.head.state_dict())

    @classmethod
    def read(cls, file: TrainedFile) -> "BottlefitWeights":
        """Raises CorruptStreamError where the file is no bottleneck, UnreadableFileError where there is none."""
        config = file.config_of(BottleneckConfig, check_config)
        head = file.model(partial(BottleneckHead, config))
        try:
            head.check()
        except ValueError as error:
            raise CorruptStreamError(f"{file.path}: not the weights of a bottleneck: {error}") from error
        if file.weights_hash:
            file.promised(head, file.weights_hash)
        entropy, context = read_entropy(file, config.channels)
        return cls(head, entropy, context)

    @property
    def config(self) -> BottleneckConfig:
        return self.head.config

    def model(self) -> BottleneckHead:
        """The head."""
        return self.head


def save_weights(path: Path, weights: BottlefitWeights) -> None:
    """Writes one bottleneck, all of it or nothing. Raises UnwritableFileError when the file cannot be written."""
    save_trained(path, "bottlefit", asdict(weights.config), {
        **{f"model.{k}": v for k, v in weights.head.state_dict().items()},
        **entropy_arrays(weights.entropy, weights.context),
    })  # fmt: skip


def check_config(values: Mapping[str, Any]) -> None:
    """Raises ValueError for a configuration that no file may have."""
    if set(values) != {f.name for f in fields(BottleneckConfig)}:
        raise ValueError(f"configuration {sorted(values)}")
    for key, value in values.items():
        least = 2 if key == "gain_levels" else 1
        if type(value) is not int or not least <= value <= LIMITS[key]:
            raise ValueError(f"{key} = {value!r}, expected {least} to {LIMITS[key]}")
