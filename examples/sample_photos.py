# SPDX-License-Identifier: Apache-2.0
"""Makes a small folder of labelled photographs, to try things on:  python examples/sample_photos.py photos/

Parts of the photograph that ships (NASA, public domain), 600 JPEG files of 96x96 pixels in three class folders, by what
they show: face, flag, suit; at random places, sizes and lights. The last 50 of each go to photos-validation/.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from isthmus.samples import ASTRONAUT

SIDE = 96
PLACES = {
    "face": (170, 60, 290, 180),
    "flag": (0, 0, 120, 330),
    "suit": (110, 300, 400, 500),
}  # left, top, right, bottom


def main() -> None:
    image, chance = Image.open(ASTRONAUT).convert("RGB"), np.random.default_rng(0)
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "photos")
    for name, (left, top, right, bottom) in PLACES.items():
        for number in range(200):
            x, y = chance.integers(left, right - SIDE // 2), chance.integers(top, bottom - SIDE // 2)
            scale, light = chance.uniform(0.7, 1.2), chance.uniform(0.6, 1.3)
            part = image.crop((x, y, x + int(SIDE * scale), y + int(SIDE * scale))).resize((SIDE, SIDE))
            part = Image.fromarray(np.clip(np.asarray(part) * light, 0, 255).astype(np.uint8))
            place = folder if number < 150 else folder.with_name(f"{folder.name}-validation")
            (place / name).mkdir(parents=True, exist_ok=True)
            part.save(place / name / f"{number:03d}.jpg", quality=90)


if __name__ == "__main__":
    main()
