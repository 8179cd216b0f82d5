# SPDX-License-Identifier: Apache-2.0
"""Family `walloc`: a filter bank, one linear layer in, a network out. Byte formats: docs/format-walloc.md."""

from isthmus.codecs.base import Codec
from isthmus.codecs.trained_file import TrainedFile
from isthmus.codecs.walloc.audio.codec import WallocAudioCodec
from isthmus.codecs.walloc.audio.plan import CONTEXT as SOUND
from isthmus.codecs.walloc.audio.weights import AudioWeights
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.codecs.walloc.weights import WallocWeights
from isthmus.errors import UnknownCodecError

CODECS: dict[str, type[Codec]] = {
    WallocImageCodec.FACTORIZED: WallocImageCodec, WallocImageCodec.CONTEXT: WallocImageCodec, SOUND: WallocAudioCodec
}  # fmt: skip


def open_codec(file: TrainedFile | None, name: str, device: str) -> Codec:
    """The codec of a trained file. Raises CorruptStreamError for a file that is none, UnknownCodecError without one."""
    if file is None:
        raise UnknownCodecError(f"load: {name!r}: a codec of this family comes from a trained file; give its path")
    if "transform" in file.config:  # only models of sound have a choice
        return WallocAudioCodec(name, AudioWeights.read(file), device)
    return WallocImageCodec(name, WallocWeights.read(file), device)
