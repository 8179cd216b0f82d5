# SPDX-License-Identifier: Apache-2.0
"""The trained parts of a WaLLoC codec: entropy models, the linear half, and the network, which is read last.

Keys of a file: `model.*` (the state of `models.walloc.image.Walloc`, float32), `tables.*` (a `TableFamily`, integers),
`tables.expected` and, where there is one, `context.*` (a `ContextModel`). The file of the tables has all of these but
`model.network.*` and `model.deviation`, so one may encode, train on latents and preview with it alone.
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
from isthmus.models.walloc.image import Walloc, WallocConfig
from isthmus.models.walloc.linear import WallocLinear

NETWORK = ("model.network.", "model.deviation")  # what the file of the tables leaves out
LIMITS = {  # what a file may ask for, so that a damaged one cannot take all memory
    "latent_channels": 1024, "signal_channels": 16, "levels": 5, "width": 4096, "blocks": 128,
    "kernel": 31, "expansion": 8, "gain_levels": 100,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class WallocWeights:
    """What one trained file holds, but for the network, which `model` reads."""

    linear: WallocLinear
    entropy: FactorizedModel
    context: ContextModel | None
    weights_hash: str
    file: TrainedFile
    whole: Walloc | None  # where it had to be read to know its hash

    @classmethod
    def read(cls, file: TrainedFile) -> "WallocWeights":
        """Raises CorruptStreamError where the file is not such a codec, UnreadableFileError where there is none."""
        config = file.config_of(WallocConfig, check_config)
        whole = (
            None if file.weights_hash else file.model(partial(Walloc, config))
        )  # kept: the next training may replace its file
        weights_hash = file.weights_hash or hash_tensors(whole.state_dict() if whole else {})
        try:
            linear = WallocLinear.from_state(config, file.floats("model.", light=True))
        except (KeyError, ValueError) as error:
            raise CorruptStreamError(f"{file.path}: the tensors do not fit the configuration: {error}") from error
        entropy, context = read_entropy(file, config.latent_channels)
        return cls(linear, entropy, context, weights_hash, file, whole)

    @property
    def config(self) -> WallocConfig:
        return self.linear.config

    def model(self) -> Walloc:
        """The whole autoencoder, from its file. Raises CorruptStreamError unless it is the one that was promised."""
        if self.whole is not None:
            return self.whole
        return self.file.promised(self.file.model(partial(Walloc, self.config)), self.weights_hash)


def save_weights(path: Path, model: Walloc, entropy: FactorizedModel, context: ContextModel | None = None) -> None:
    """Writes one codec, all of it or nothing. Raises UnwritableFileError when the file cannot be written."""
    save_trained(path, "walloc", asdict(model.config), {
        **{f"model.{k}": v.float() for k, v in model.state_dict().items()},
        **entropy_arrays(entropy, context),
    })  # fmt: skip


def check_config(values: Mapping[str, Any]) -> None:
    """Raises ValueError for a configuration that no file may have: better before a training than after it."""
    if set(values) != {f.name for f in fields(WallocConfig)}:
        raise ValueError(f"configuration {sorted(values)}")
    for key, value in values.items():
        least = 0 if key == "blocks" else 2 if key == "gain_levels" else 1
        if type(value) is not int or not least <= value <= LIMITS[key]:
            raise ValueError(f"{key} = {value!r}, expected {least} to {LIMITS[key]}")
    if values["kernel"] % 2 == 0:
        raise ValueError(f"kernel = {values['kernel']}, expected an odd number")
