# SPDX-License-Identifier: Apache-2.0
"""Family `dfloat`: tensors of floats without loss. Nothing in it is trained. Byte format: docs/format-dfloat.md."""

from typing import TYPE_CHECKING

from isthmus.errors import UnknownCodecError
from isthmus.lazy import names_on_demand

if TYPE_CHECKING:
    from isthmus.codecs.dfloat.codec import CODECS, DFloatCodec
    from isthmus.codecs.trained_file import TrainedFile
else:  # files of weights are coded without torch, which the codec needs
    __getattr__, __dir__ = names_on_demand(__name__, {"CODECS": "isthmus.codecs.dfloat.codec"})

__all__ = ["CODECS", "open_codec"]


def open_codec(file: "TrainedFile | None", name: str, device: str) -> "DFloatCodec":
    """The codec. Raises UnknownCodecError for a trained file: there is nothing to train."""
    from isthmus.codecs.dfloat.codec import DFloatCodec

    if file is not None:
        raise UnknownCodecError(f"load: {name!r}: family dfloat has one codec and no files; use the name dfloat")
    return DFloatCodec(name, device)
