# SPDX-License-Identifier: Apache-2.0
"""The codec that reads a data set: one that ships, one whose tables lie in the data set, or a file that is named."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

from isthmus.codecs.base import Codec
from isthmus.codecs.registry import load, package_of, pretrained
from isthmus.codecs.trained_file import TrainedFile
from isthmus.datasets.manifest import Manifest
from isthmus.datasets.storage import Place
from isthmus.errors import (
    CorruptStreamError,
    IsthmusError,
    UnknownCodecError,
    UnreadableFileError,
    WeightsMismatchError,
)

TABLES = "codec.safetensors"


class Reader:
    """The codec of a data set, found when it is first asked for; what is pickled is where it comes from.

    named: a codec's name or weights file, instead of what the manifest says.
    """

    def __init__(self, place: Place, manifest: Manifest, named: str | None = None) -> None:
        self.place, self.manifest, self.named = place, manifest, named
        self._codec: Codec | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_codec": None}

    @property
    def codec(self) -> Codec:
        """Raises WeightsMismatchError where no tables are at hand that unpack the data set's payloads."""
        if self._codec is None:
            self._codec = self._find()
        return self._codec

    @property
    def _tables(self) -> dict[str, str]:
        found = self.manifest.codec.get("tables_hash")
        if not isinstance(found, dict) or not found:
            raise CorruptStreamError(f"{self.place.url}: the manifest does not say which tables its payloads need")
        return found

    def _reads(self, codec: Codec) -> bool:
        own = getattr(codec, "tables_hashes", {})
        return all(own.get(codec_id) == tables for codec_id, tables in self._tables.items())

    def _find(self) -> Codec:
        told = self.manifest.codec
        if self.named is not None:
            codec = load(self.named)
            if not self._reads(codec):
                raise WeightsMismatchError(
                    f"{self.place.url}: needs entropy tables {self._needed}; {self.named} has others"
                )
            return codec
        if self.place.size(TABLES) is not None:
            codec = self._of_data_set(str(told.get("name")), told.get("weights_hash"))
            if not self._reads(codec):
                raise CorruptStreamError(
                    f"{self.place.name(TABLES)}: not the tables that the manifest names, {self._needed}: fetch the "
                    "data set again"
                )
            return codec
        ships = [p for p in pretrained() if all(p.tables.get(i) == t for i, t in self._tables.items())]
        exact = [p for p in ships if p.weights_hash == told.get("weights_hash")]
        if not ships:
            raise WeightsMismatchError(
                f"{self.place.url}: its payloads need entropy tables {self._needed} of {told.get('name')}, which "
                "neither ship with this version nor lie in the data set: name the weights file that it was made with, "
                "LatentDataset(path, codec=FILE)"
            )
        return load((exact or ships)[-1].label)

    def _of_data_set(self, name: str, weights_hash: Any) -> Codec:
        """That of the file beside its shards: tables and linear half, which are read at once, perhaps networks."""
        if self.place.path is not None:
            return self._opened(self.place.path / TABLES, name, str(weights_hash))
        with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
            path = Path(folder) / TABLES
            path.write_bytes(self.place.read(TABLES))
            codec = self._opened(path, name, str(weights_hash))
            _has_networks(codec)  # which keeps them
            return codec

    def _opened(self, path: Path, name: str, weights_hash: str) -> Codec:
        try:
            file = TrainedFile(path, weights_hash)
            return package_of(file.family).open_codec(file, name, "cpu")  # type: ignore[no-any-return]
        except UnknownCodecError as error:
            raise CorruptStreamError(
                f"{self.place.name(TABLES)}: of a family that this version does not know"
            ) from error

    @property
    def _needed(self) -> str:
        return ", ".join(f"{tables} ({codec_id})" for codec_id, tables in self._tables.items())

    def missing(self) -> str | None:
        """What is not at hand to see the samples of the data set, in words; None where nothing is missing."""
        told = self.manifest.codec
        try:
            codec: Any = self.codec
        except IsthmusError as error:
            return str(error)
        hash_ = told.get("weights_hash")
        if getattr(codec, "weights_hash", hash_) != hash_:
            ours = codec.weights_hash
            return (
                f"synthesis weights {hash_} of {told.get('name')}: {codec.name} reads its integers, its own are {ours}"
            )
        if self.named is None and self.place.size(TABLES) is not None and not _has_networks(codec):
            return (
                f"synthesis weights {hash_} of {told.get('name')}: {TABLES} holds tables and the linear half; name the "
                "weights file to see samples as the network makes them: LatentDataset(path, codec=FILE)"
            )
        return None

    def samples(self, data: bytes, options: dict[str, Any]) -> Any:
        """Decodes a stream for a look; where the network is missing, by the linear half alone, and says so."""
        codec = self.codec
        lacking = self.missing()
        if lacking is not None and codec.DecodeOptions.has("synthesis") and "synthesis" not in options:
            warnings.warn(f"{self.place.url}: a preview, as it lacks {lacking}", stacklevel=3)
            options = {**options, "synthesis": "linear"}
        return codec.decode(data, **options)


def _has_networks(codec: Any) -> bool:
    """Whether they lie in the file of a codec; reads them."""
    try:
        return getattr(codec, "model", None) is not None
    except (CorruptStreamError, UnreadableFileError):
        return False
