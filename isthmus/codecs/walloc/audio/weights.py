# SPDX-License-Identifier: Apache-2.0
"""The trained file of a WaLLoC codec of sound: its tensors, and the limits that an untrusted one is held to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from isthmus.codecs.trained_file import TrainedFile, hash_tensors, save_trained
from isthmus.codecs.walloc.audio.unit import UNIT_FRAMES, UnitCoder
from isthmus.entropy.models.causal import CausalModel
from isthmus.errors import CorruptStreamError
from isthmus.lazy import cached_property
from isthmus.models.filter_bank import TRANSFORMS
from isthmus.models.walloc.audio import WallocAudio, WallocAudioConfig
from isthmus.models.walloc.audio_linear import AudioLinear

NETWORK = ("model.network.", "model.deviation", "model.basis", "model.spread")  # not in the file of the tables
HALF = ("network.", "basis")  # stored as float16: they make no latent
LIMITS = {  # what a file may ask for, so that a damaged one cannot take all memory
    "latent_channels": 1024, "signal_channels": 2, "factor": 4096, "width": 4096, "blocks": 128, "kernel": 63,
    "expansion": 8, "gain_levels": 100,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class AudioWeights:
    """What one trained file holds, but for the network, which `model` reads."""

    linear: AudioLinear
    context: CausalModel
    noise: CausalModel
    weights_hash: str
    file: TrainedFile
    whole: WallocAudio | None  # where it had to be read to know its hash

    @classmethod
    def read(cls, file: TrainedFile) -> "AudioWeights":
        """Raises CorruptStreamError where the file is not such a codec, UnreadableFileError where there is none."""
        config = file.config_of(WallocAudioConfig, check_audio_config)
        whole = (
            None if file.weights_hash else file.model(partial(WallocAudio, config), half=True)
        )  # kept: the next training may replace its file
        weights_hash = file.weights_hash or hash_tensors(whole.state_dict() if whole else {})
        try:
            linear = AudioLinear.from_state(config, file.floats("model.", light=True, half=True))
        except (KeyError, ValueError) as error:
            raise CorruptStreamError(f"{file.path}: the tensors do not fit the configuration: {error}") from error
        groups = config.signal_channels * config.noise_groups
        context = _contexts(file, "context.", config.latent_channels)
        return cls(linear, context, _contexts(file, "noise.", groups), weights_hash, file, whole)

    @property
    def tables_hash(self) -> str:
        """Of the contexts of latents and of noise."""
        return sha256(bytes.fromhex(self.context.hash + self.noise.hash)).hexdigest()[:8]

    @cached_property
    def coder(self) -> UnitCoder:
        return UnitCoder(self.context, self.noise, self.config.bank)

    @property
    def config(self) -> WallocAudioConfig:
        return self.linear.config

    def model(self) -> WallocAudio:
        """The whole autoencoder, from its file. Raises CorruptStreamError unless it is the one that was promised."""
        if self.whole is not None:
            return self.whole
        return self.file.promised(self.file.model(partial(WallocAudio, self.config), half=True), self.weights_hash)


def save_audio_weights(path: Path, model: WallocAudio, context: CausalModel, noise: CausalModel) -> None:
    """Writes one codec, all of it or nothing. Raises UnwritableFileError when the file cannot be written."""
    state = {k: v.half() if k.startswith(HALF) else v.float() for k, v in model.state_dict().items()}
    save_trained(path, "walloc", asdict(model.config), {
        **{f"model.{k}": v for k, v in state.items()},
        **{f"context.{k}": v for k, v in context.to_arrays().items()},
        **{f"noise.{k}": v for k, v in noise.to_arrays().items()},
    })  # fmt: skip


def _contexts(file: TrainedFile, prefix: str, channels: int) -> CausalModel:
    arrays = file.integers(prefix)
    if not arrays:
        raise CorruptStreamError(f"{file.path}: no entropy tables in this file; was the training finished?")
    try:
        context = CausalModel.from_arrays(arrays)
    except TypeError as error:  # an array without axes
        raise CorruptStreamError(f"{file.path}: entropy tables of wrong shapes: {error}") from error
    if context.predictor.channels != channels:
        found = context.predictor.channels
        raise CorruptStreamError(f"{file.path}: tables for {found} channels do not fit the model, which has {channels}")
    return context


def check_audio_config(values: Mapping[str, Any]) -> None:
    """Raises ValueError for a configuration that no file may have: better before a training than after it."""
    if set(values) != {f.name for f in fields(WallocAudioConfig)}:
        raise ValueError(f"configuration {sorted(values)}")
    if values["transform"] not in TRANSFORMS:
        raise ValueError(f"transform = {values['transform']!r}, expected one of {', '.join(TRANSFORMS)}")
    for key, most in LIMITS.items():
        least = 0 if key == "blocks" else 2 if key in ("gain_levels", "factor") else 1
        if type(values[key]) is not int or not least <= values[key] <= most:
            raise ValueError(f"{key} = {values[key]!r}, expected {least} to {most}")
    if values["kernel"] % 2 == 0:
        raise ValueError(f"kernel = {values['kernel']}, expected an odd number")
    if values["signal_channels"] != 2:
        raise ValueError(f"signal_channels = {values['signal_channels']}, expected 2: one channel is coded as two")
    if values["transform"] == "packets" and values["factor"] & (values["factor"] - 1):
        raise ValueError(f"factor = {values['factor']}, expected a power of two for packets")
    reach = 1 + values["blocks"] * (values["kernel"] // 2)
    if reach > UNIT_FRAMES // 2:
        raise ValueError(f"a network that sees {reach} frames to each side, expected at most {UNIT_FRAMES // 2}")
    if values["latent_channels"] > 2 * values["factor"]:
        raise ValueError(f"latent_channels = {values['latent_channels']}, expected at most the bands of two channels")
