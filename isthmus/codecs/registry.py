# SPDX-License-Identifier: Apache-2.0
"""Which codec a name or a stream means.

Two maps: codec id -> decoder, which names a byte format for ever, and name -> pretrained revision, which moves when a
codec is trained anew. `pretrained/index.json` lists every revision that ships, with its hashes, so that a stream finds
its weights without opening them.
"""

import json
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.base import Codec
from isthmus.codecs.dfloat import codec as dfloat
from isthmus.codecs.dfloat.codec import DFloatCodec
from isthmus.codecs.walloc.image import CONTEXT, FACTORIZED, WallocImageCodec
from isthmus.codecs.walloc.weights import load_weights
from isthmus.devices import check_device
from isthmus.errors import UnknownCodecError, WeightsMismatchError

PRETRAINED = Path(__file__).parent.parent / "pretrained"
DECODERS: dict[str, type[Codec]] = {
    FACTORIZED: WallocImageCodec, CONTEXT: WallocImageCodec, dfloat.CODEC_ID: DFloatCodec,
}  # fmt: skip
WITHOUT_WEIGHTS: dict[str, type[DFloatCodec]] = {dfloat.NAME: DFloatCodec}  # nothing in them is trained
PREFIXES = ("compressai:", "hf:")

_loaded: dict[tuple[str, str], Codec] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Pretrained:
    """One revision that ships: `name` is what users write, `revision` counts up when the name is trained anew."""

    name: str
    revision: int
    file: str
    tables: dict[str, str]  # codec id -> hash of its entropy tables; the last is what it writes unless asked otherwise
    weights_hash: str
    summary: str

    @property
    def codec_id(self) -> str:
        """What it writes unless asked otherwise."""
        return list(self.tables)[-1]

    def reads(self, header: TrackHeader) -> bool:
        """Whether it has the entropy tables that a stream's header asks for."""
        return self.tables.get(header.codec_id) == header.tables_hash


@cache
def pretrained() -> tuple[Pretrained, ...]:
    """Every revision that ships, the newest of each name last."""
    entries = json.loads((PRETRAINED / "index.json").read_text())
    return tuple(sorted((Pretrained(**entry) for entry in entries), key=lambda p: (p.name, p.revision)))


def list_codecs() -> list[str]:
    """Names of trained codecs that `load` knows; it knows those of `WITHOUT_WEIGHTS` too."""
    return list(dict.fromkeys(p.name for p in pretrained()))


def load(name: str, device: str = "cpu") -> Codec:
    """A codec by name (`isthmus.list_codecs()`) or by the path of a weights file; the same object when asked twice.

    Raises UnknownCodecError for other names, UnreadableFileError and CorruptStreamError for a bad file, ValueError for
    a device that is not there.
    """
    name, device = str(name), check_device(device)
    path = Path(name)
    found = [p for p in pretrained() if name in (p.name, f"{p.name}.r{p.revision}")]
    if found:
        newest = [p for p in pretrained() if p.name == found[-1].name][-1]
        name = newest.name if found[-1] == newest else f"{found[-1].name}.r{found[-1].revision}"
        path = PRETRAINED / found[-1].file
    elif name.startswith(PREFIXES):
        raise UnknownCodecError(f"load: {name!r}: this version has no loader for names that begin so")
    elif path.suffix != ".safetensors" and name not in WITHOUT_WEIGHTS:
        raise UnknownCodecError(
            f"load: no codec {name!r}; known: {', '.join([*list_codecs(), *WITHOUT_WEIGHTS])}; or give the path of a "
            ".safetensors file"
        )
    with _lock:
        if (name, device) in _loaded:
            return _loaded[name, device]
        codec = WITHOUT_WEIGHTS[name](device) if name in WITHOUT_WEIGHTS else load_weights(path, name, device)
        if found or name in WITHOUT_WEIGHTS:  # a file may be overwritten by the next training
            _loaded[name, device] = codec
        return codec


def describe(header: TrackHeader) -> dict[str, Any]:
    """A stream's header as JSON values, with the name of the codec that made it (None: not one that ships)."""
    made_by = [p for p in pretrained() if p.reads(header) and p.weights_hash == header.weights_hash]
    known = DECODERS.get(header.codec_id)
    options = known.describe_options(header.options) if known else {}
    name = f"{made_by[-1].name}.r{made_by[-1].revision}" if made_by else None
    name = next((n for n, codec in WITHOUT_WEIGHTS.items() if codec.codec_id == header.codec_id), name)
    return {"codec": name, **header.describe(), **options}


def codec_for(header: TrackHeader, device: str = "cpu") -> Codec:
    """The codec that a stream's header asks for.

    Raises UnknownCodecError for a codec id from elsewhere, WeightsMismatchError when its weights do not ship.
    """
    if header.codec_id not in DECODERS:
        raise UnknownCodecError(
            f"decode: the stream is of codec {header.codec_id!r}; this version knows {', '.join(sorted(DECODERS))}: "
            "a newer isthmus may know it"
        )
    for name, codec in WITHOUT_WEIGHTS.items():
        if codec.codec_id == header.codec_id:
            return load(name, device)
    same = [p for p in pretrained() if p.reads(header)]
    exact = [p for p in same if p.weights_hash == header.weights_hash]
    if not same:
        raise WeightsMismatchError(
            f"decode: the stream needs entropy tables {header.tables_hash} of {header.codec_id}, which do not ship "
            "with this version; load the weights file that it was made with: isthmus.load('FILE.safetensors')"
        )
    best = (exact or same)[-1]
    return load(f"{best.name}.r{best.revision}", device)
