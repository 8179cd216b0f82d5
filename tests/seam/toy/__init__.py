# SPDX-License-Identifier: Apache-2.0
"""Family `toy`: sound as rounded samples, coded with a table made from their counts."""

from isthmus.codecs.toy.codec import CODEC_ID, ToyCodec

from isthmus.codecs.base import Codec
from isthmus.codecs.trained_file import TrainedFile

CODECS: dict[str, type[Codec]] = {CODEC_ID: ToyCodec}


def open_codec(file: TrainedFile | None, name: str, device: str) -> ToyCodec:
    """The codec; nothing in it is trained."""
    return ToyCodec(name, device)
