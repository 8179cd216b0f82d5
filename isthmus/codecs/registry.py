# SPDX-License-Identifier: Apache-2.0
"""Which codec a name or a stream means. Names alone: a family's package is imported when it is first asked for.

`FAMILIES` says which byte formats a family reads, for ever. `pretrained/index.json` says which revision a name means,
which moves when a codec is trained anew, with kind and hashes, so that a stream finds its codec without opening a file.

The package of a family, `isthmus.codecs.<family>`, gives
    CODECS      codec id -> class of codec
    open_codec  (TrainedFile or None, name, device) -> codec
    open_named  (name, device) -> codec, if it finds codecs by names such as family:model; else there are none
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.base import Codec
from isthmus.codecs.of_file import of_file
from isthmus.devices import check_device
from isthmus.errors import CorruptStreamError, UnknownCodecError, WeightsMismatchError
from isthmus.forks import first_time, first_use

if TYPE_CHECKING:
    from isthmus.codecs.trained_file import TrainedFile

FAMILIES: dict[str, tuple[str, ...]] = {
    "bottlefit": ("bottlefit.1", "bottlefit.2"),
    "dfloat": ("dfloat.1",),
    "walloc": ("walloc.1", "walloc.2", "walloc.3"),
}
# kind -> codec, where nobody names one
DEFAULTS = {"image": "walloc-image-f8c48", "audio": "walloc-audio-f256c108", "tensors": "dfloat"}
PRETRAINED = Path(__file__).parent.parent / "pretrained"
OF_RUN = "codec.safetensors"  # the file of a codec in the folder of the run that trained it

_loaded: dict[tuple[str, str], Codec] = {}


@dataclass(frozen=True)
class Pretrained:
    """One revision that ships: `name` is what users write, `revision` counts up when the name is trained anew.

    file: the trained file in the folder of the index, None where nothing is trained. tables: codec id -> hash of its
    entropy tables; the last is what it writes unless asked otherwise.
    """

    name: str
    kind: str
    revision: int
    file: str | None
    tables: dict[str, str]
    weights_hash: str
    summary: str

    @property
    def codec_id(self) -> str:
        """What it writes unless asked otherwise."""
        return list(self.tables)[-1]

    @property
    def label(self) -> str:
        """The name that means this revision for ever."""
        return f"{self.name}.r{self.revision}" if self.file else self.name

    def reads(self, header: TrackHeader) -> bool:
        """Whether it has the entropy tables that a stream's header asks for."""
        return self.tables.get(header.codec_id) == header.tables_hash

    def open(self) -> "TrainedFile | None":
        """What it was trained to, if anything; entropy tables may lie in a file of their own beside the networks."""
        if self.file is None:
            return None
        from isthmus.codecs.trained_file import TrainedFile  # torch is loaded only where it is needed

        whole = PRETRAINED / self.file
        tables = whole.with_suffix(".tables.safetensors")
        return TrainedFile(whole, self.weights_hash, tables if tables.is_file() else None)


@cache
def pretrained() -> tuple[Pretrained, ...]:
    """Every revision that ships, the newest of each name last."""
    entries = json.loads((PRETRAINED / "index.json").read_text(encoding="utf-8"))
    return tuple(sorted((Pretrained(**entry) for entry in entries), key=lambda p: (p.name, p.revision)))


def newest() -> dict[str, Pretrained]:
    """What each name means today."""
    return {p.name: p for p in pretrained()}


def list_codecs(kind: str | None = None) -> list[str]:
    """Names that `load` knows; of one kind, "image" or "tensors", if it is given."""
    return [name for name, entry in newest().items() if kind in (None, entry.kind)]


def default_codec(kind: str, what: str = "encode") -> str:
    """The codec for samples of `kind` where nobody names one. Raises UnknownCodecError, beginning with `what`."""
    if kind not in DEFAULTS:
        raise UnknownCodecError(
            f"{what}: {kind} has no default codec in this version ({', '.join(DEFAULTS)} have); name one with --codec, "
            "or codec=... in Python; `isthmus codecs` lists them"
        )
    return DEFAULTS[kind]


def package_of(family: str) -> Any:
    """The package of a family. Raises UnknownCodecError for another name."""
    if family not in FAMILIES:
        raise UnknownCodecError(f"{family!r} is no family of codecs of this version; it has {', '.join(FAMILIES)}")
    with first_time(f"import {family}"):
        return import_module(f"isthmus.codecs.{family}")


def family_of(name: str) -> str:
    """What stands before the first `-` or `:` of a codec's name: walloc-image-f8c12 is of family walloc."""
    return re.split("[-:]", name, maxsplit=1)[0]


def codec_class(codec_id: str) -> type[Codec]:
    """The class that reads a byte format. Raises UnknownCodecError for one from elsewhere."""
    family = next((family for family, ids in FAMILIES.items() if codec_id in ids), None)
    if family is None:
        known = ", ".join(sorted(i for ids in FAMILIES.values() for i in ids))
        raise UnknownCodecError(
            f"decode: the stream is of codec {codec_id!r}; this version knows {known}: a newer isthmus may know it"
        )
    return package_of(family).CODECS[codec_id]


def class_of(name: str) -> type[Codec]:
    """The class of a codec by name or path, of a file without its tensors where that is enough. Raises as `load`."""
    entry = shipped(name)
    if entry is not None:
        return codec_class(entry.codec_id)
    if name.endswith(".safetensors"):
        classes = set(package_of(_trained(name).family).CODECS.values())
        if len(classes) == 1:
            return classes.pop()
    return type(_from_elsewhere(name, "cpu"))


def shipped(name: str) -> Pretrained | None:
    """What ships by a name, its newest revision, or by a label, that one; None for other names."""
    return next((p for p in reversed(pretrained()) if name in (p.name, p.label)), None)


def load(name: str, device: str = "cpu") -> Codec:
    """A codec by name (`isthmus.list_codecs()`) or by the path of a weights file; the same object when asked twice.

    Networks are read from their file only when something asks for them. Raises UnknownCodecError for other names,
    UnreadableFileError and CorruptStreamError for a bad file, ValueError for a device that is not there.
    """
    with first_time("load"):  # imports torch
        name, device = str(name), check_device(device)
    entry = shipped(name)
    if entry is None:
        return _from_elsewhere(name, device)
    name = entry.name if newest()[entry.name] == entry else entry.label
    kept = _loaded.get((name, device))  # without the lock, which others may hold for as long as a first use takes
    if kept is not None:
        return kept
    with first_use:
        if (name, device) not in _loaded:
            _loaded[name, device] = package_of(family_of(name)).open_codec(entry.open(), name, device)
        return _loaded[name, device]


def _trained(name: str) -> "TrainedFile":
    """The trained file at a path. Raises CorruptStreamError for one of a family that there is not."""
    from isthmus.codecs.trained_file import TrainedFile

    file = TrainedFile(Path(name))
    if file.family not in FAMILIES:
        raise CorruptStreamError(f"{name}: not the weights of an isthmus codec: family {file.family!r}")
    return file


def _opened(path: Path, device: str) -> Codec:
    file = _trained(str(path))
    return package_of(file.family).open_codec(file, str(path), device)  # type: ignore[no-any-return]


def _from_elsewhere(name: str, device: str) -> Codec:
    """A codec from the path of a file or a run, or one that a family finds by the name that follows its prefix."""
    if name.endswith(".safetensors"):
        return of_file(_opened, Path(name).resolve(), device)
    family, prefixed = family_of(name), ":" in name
    if prefixed and hasattr(package_of(family) if family in FAMILIES else None, "open_named"):
        return package_of(family).open_named(name, device)
    if prefixed:
        raise UnknownCodecError(f"load: {name!r}: this version has no loader for names that begin so")
    if (Path(name) / OF_RUN).is_file():
        return of_file(_opened, (Path(name) / OF_RUN).resolve(), device)
    known = ", ".join(list_codecs())
    raise UnknownCodecError(f"load: no codec {name!r}; known: {known}; or give the path of a .safetensors file")


def describe(header: TrackHeader) -> dict[str, Any]:
    """A stream's header as JSON values, with the name of the codec that made it (None: not one that ships)."""
    made_by = [p for p in pretrained() if p.reads(header) and p.weights_hash == header.weights_hash]
    try:
        options = codec_class(header.codec_id).describe_options(header.options)
    except (UnknownCodecError, CorruptStreamError):  # what is there can still be looked at
        options = {}
    return {"codec": made_by[-1].label if made_by else None, **header.describe(), **options}


def codec_for(header: TrackHeader, device: str = "cpu") -> Codec:
    """The codec that a stream's header asks for.

    Raises UnknownCodecError for a codec id from elsewhere, WeightsMismatchError when its weights do not ship.
    """
    codec_class(header.codec_id)
    same = [p for p in pretrained() if p.reads(header)]
    exact = [p for p in same if p.weights_hash == header.weights_hash]
    if not same and any(p.file is None and header.codec_id in p.tables for p in pretrained()):
        raise CorruptStreamError(
            f"decode: a {header.codec_id} stream names no tables and no weights, this one {header.tables_hash} and "
            f"{header.weights_hash}: it is damaged, fetch it again"
        )
    if not same:
        raise WeightsMismatchError(
            f"decode: the stream needs entropy tables {header.tables_hash} of {header.codec_id}, which do not ship "
            "with this version; name the weights file that it was made with: --codec FILE, isthmus.load(FILE)"
        )
    return load((exact or same)[-1].label, device)
