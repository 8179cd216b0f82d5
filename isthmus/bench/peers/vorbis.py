# SPDX-License-Identifier: Apache-2.0
"""Ogg Vorbis through libsndfile (package soundfile), in the shape of ours."""

import io

import numpy as np

PIECE = 1 << 15  # samples given to it at once: many more overflow its stack


class Vorbis:
    """`quality` 0 to 100 is libsndfile's compression level backwards: variable rates, larger is better."""

    name = "vorbis"
    qualities = (1, 10, 20, 30, 40, 60)

    def encode(self, sound: np.ndarray, *, sample_rate: int, quality: int) -> bytes:
        """A file of float32 [C, T]."""
        import soundfile

        buffer, level = io.BytesIO(), 1 - quality / 100
        target = soundfile.SoundFile(
            buffer, "w", sample_rate, len(sound), format="OGG", subtype="VORBIS", compression_level=level
        )
        with target:
            for start in range(0, sound.shape[1], PIECE):
                target.write(np.ascontiguousarray(sound[:, start : start + PIECE].T))
        return buffer.getvalue()

    def decode_like(self, data: bytes, like: np.ndarray, *, sample_rate: int) -> np.ndarray:
        """The sound again, of the shape of `like`."""
        import soundfile

        found, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        return np.ascontiguousarray(found.T)


def vorbis_codecs() -> tuple[list[Vorbis], list[str]]:
    """The codec, or a note of what it needs."""
    try:
        import soundfile  # noqa: F401
    except (ImportError, OSError):
        return [], ["Vorbis: left out, it needs the package soundfile: pip install 'isthmus[audio]'"]
    return [Vorbis()], []
