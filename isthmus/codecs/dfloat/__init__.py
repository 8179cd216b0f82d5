# SPDX-License-Identifier: Apache-2.0
"""Family `dfloat`: tensors of floats without loss. Nothing in it is trained. Byte format: docs/format-dfloat.md."""

from isthmus.codecs.base import Codec
from isthmus.codecs.dfloat.codec import CODEC_ID, DFloatCodec
from isthmus.codecs.trained_file import TrainedFile
from isthmus.errors import UnknownCodecError

CODECS: dict[str, type[Codec]] = {CODEC_ID: DFloatCodec}


def open_codec(file: TrainedFile | None, name: str, device: str) -> DFloatCodec:
    """The codec. Raises UnknownCodecError for a trained file: there is nothing to train."""
    if file is not None:
        raise UnknownCodecError(f"load: {name!r}: family dfloat has one codec and no files; use the name dfloat")
    return DFloatCodec(name, device)
