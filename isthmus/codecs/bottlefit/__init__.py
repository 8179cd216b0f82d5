# SPDX-License-Identifier: Apache-2.0
"""Family `bottlefit`: what a small network on a device sends for another to read. Format: docs/format-bottlefit.md."""

from isthmus.codecs.base import Codec
from isthmus.codecs.bottlefit.codec import BottlefitCodec
from isthmus.codecs.bottlefit.weights import BottlefitWeights
from isthmus.codecs.trained_file import TrainedFile
from isthmus.errors import UnknownCodecError

CODECS: dict[str, type[Codec]] = {
    BottlefitCodec.FACTORIZED: BottlefitCodec, BottlefitCodec.CONTEXT: BottlefitCodec
}  # fmt: skip


def open_codec(file: TrainedFile | None, name: str, device: str) -> BottlefitCodec:
    """The codec of a trained file. Raises CorruptStreamError for a file that is none, UnknownCodecError without one."""
    if file is None:
        raise UnknownCodecError(f"load: {name!r}: a codec of this family comes from a trained file; give its path")
    return BottlefitCodec(name, BottlefitWeights.read(file), device)
