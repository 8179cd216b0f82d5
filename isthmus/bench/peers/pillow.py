# SPDX-License-Identifier: Apache-2.0
"""The codecs that everyone has, through Pillow, in the shape of ours: the baselines of the bench."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_JPEG_2000_BITS = 800  # compression ratio of 24-bit pixels at quality 1, hence 24 / 800 = 0.03 bits per pixel


@dataclass(frozen=True)
class PillowCodec:
    """One of Pillow's formats. `decode` gives RGB [H,W,3], for grey images too."""

    name: str
    format: str
    qualities: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def encode(self, image: np.ndarray, *, quality: int) -> bytes:
        """Bytes of a uint8 image [H,W,3] or [H,W,1]; larger quality, more bytes (see `pillow_codecs`)."""
        from PIL import Image

        buffer = io.BytesIO()
        options = self._quality(quality) | self.options
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, self.format, **options)
        return buffer.getvalue()

    def decode(self, data: bytes, *, output: str = "numpy") -> np.ndarray:
        """uint8 [H,W,3], fully decoded. Only output="numpy"."""
        from PIL import Image

        if output != "numpy":
            raise ValueError(f'{self.name}: output="numpy" expected; got {output!r}')
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    def _quality(self, quality: int) -> dict[str, Any]:
        if self.format == "JPEG2000":
            return {"quality_mode": "rates", "quality_layers": [_JPEG_2000_BITS / quality]}
        return {"quality": quality}


JPEG = PillowCodec("jpeg", "JPEG", (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 85, 90, 95))
WEBP = PillowCodec("webp", "WEBP", (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95))
JPEG_2000 = PillowCodec(
    "jpeg2000", "JPEG2000", (5, 7, 10, 14, 20, 27, 35, 45, 60, 80, 100), {"irreversible": True, "mct": 1}
)
AVIF = PillowCodec("avif", "AVIF", (10, 20, 30, 40, 50, 55, 60, 65, 70, 75, 80, 85, 90), {"speed": 8, "max_threads": 1})

_FEATURES = {"JPEG": "jpg", "WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}


def pillow_codecs() -> tuple[list[PillowCodec], list[str]]:
    """The baselines that this Pillow can write, and a note for each that it cannot.

    JPEG and WebP with Pillow's defaults (4:2:0; JPEG not optimised), AVIF with its defaults at speed 8. JPEG 2000 in
    its lossy form: 9/7 wavelet and colour transform, which Pillow leaves out by default (2 dB), at a fixed rate per
    image, 0.03 bits per pixel for each step of quality.
    """
    from PIL import features

    codecs = [JPEG, WEBP, JPEG_2000, AVIF]
    present = [codec for codec in codecs if features.check(_FEATURES[codec.format])]
    notes = [f"{codec.name}: left out, this Pillow was built without it" for codec in codecs if codec not in present]
    return present, notes
