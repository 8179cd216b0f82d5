# SPDX-License-Identifier: Apache-2.0
"""What the codecs of images and of sound share: weights, a network that is read when it is needed, how they travel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.base import Codec
from isthmus.codecs.registry import load, pretrained, shipped
from isthmus.devices import usual_settings
from isthmus.errors import WeightsMismatchError
from isthmus.forks import ForkLock


class Weights(Protocol):
    """What a trained file holds; `model` reads the network."""

    @property
    def weights_hash(self) -> str:
        """Of the networks."""

    @property
    def config(self) -> Any:
        """Of the model, a dataclass."""

    def model(self) -> Any:
        """The whole autoencoder."""


W = TypeVar("W", bound=Weights)


def identity_of(codec: Any) -> dict[str, Any]:
    """What says which latents are a codec's, as JSON values: its label or path, and its hashes."""
    ships = shipped(codec.name)
    name = ships.label if ships else codec.name
    return {"name": name, "tables_hash": codec.tables_hashes, "weights_hash": codec.weights_hash}


class TrainedCodec(Codec, Generic[W]):
    """A codec with its weights; `plan` is what a header asks for, kept for the few headers of a data set."""

    def __init__(self, name: str, weights: W, device: str) -> None:
        self.name, self.weights, self.weights_hash = name, weights, weights.weights_hash
        self.device = torch.device(device)
        self.plan = lru_cache(maxsize=256)(self._plan)
        self._lock = ForkLock()
        self._model: Any = None

    def __repr__(self) -> str:
        config = ", ".join(f"{k}={v}" for k, v in asdict(self.weights.config).items())
        return f"{type(self).__name__}({self.name!r}, {config}, device={str(self.device)!r})"

    def __reduce__(self) -> tuple[Callable[..., Codec], tuple[str, str]]:
        return load, (self.name, str(self.device))  # workers load by name; weights do not travel

    @property
    def cell(self) -> int:
        """Pixels or samples of a place of the latent's grid, along each axis."""
        return int(self.weights.config.factor)

    @abstractmethod
    def _plan(self, header: TrackHeader) -> Any:
        """Raises WeightsMismatchError for other tables, CorruptStreamError for what this codec never writes."""

    def _placed(self, model: nn.Module) -> nn.Module:
        """A network where and as it shall lie."""
        return model.to(self.device)

    @property
    def model(self) -> Any:
        """The whole autoencoder on the codec's device. Raises CorruptStreamError where its file is damaged."""
        with self._lock, usual_settings():
            if self._model is None:
                self._model = self._placed(self.weights.model())
            return self._model

    def other_tables(self, header: TrackHeader) -> WeightsMismatchError:
        """What says that a stream is not this codec's, and whose it is."""
        made_by = [entry.label for entry in pretrained() if entry.reads(header)]
        kind = header.signal.describe()["kind"]
        if kind != self.kind:
            told = f"the stream holds {kind}, {self.name} is a codec of kind {self.kind}"
        else:
            own = " and ".join(f"{i} with {tables}" for i, tables in self.tables_hashes.items())
            needed = f"{header.codec_id} with entropy tables {header.tables_hash}"
            told = f"the stream needs codec {needed}; {self.name} is {own}"
        whose = f"load {made_by[-1]}, which reads it" if made_by else "load the weights it was made with"
        return WeightsMismatchError(f"{told}; use isthmus.decode(data) or {whose}")

    @property
    @abstractmethod
    def tables_hashes(self) -> dict[str, str]:
        """Hash of the entropy tables of each codec id that this codec reads and writes."""

    def check_weights(self, header: TrackHeader) -> None:
        """Raises WeightsMismatchError for a stream that was made for other synthesis weights."""
        if header.weights_hash != self.weights_hash:
            raise WeightsMismatchError(
                f"the stream was made for synthesis weights {header.weights_hash}, {self.name} has "
                f"{self.weights_hash}; load the weights it was made with"
            )
