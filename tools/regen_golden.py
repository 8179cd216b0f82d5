# SPDX-License-Identifier: Apache-2.0
"""Makes the golden streams of `tests/golden`: run it only when a codec id, or a revision that ships, is new.

python tools/regen_golden.py [--replace]

A golden stream holds a byte format to its word: a stream made once decodes for ever. So existing cases stay as they
are; `--replace` is for a format that was never released.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

import isthmus
from isthmus.codecs.registry import pretrained
from isthmus.codecs.walloc import ENTROPY
from isthmus.media.image import read_image, write_image
from isthmus.samples import ASTRONAUT

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
QUALITIES = {"one_pixel": (50,), "ramp": (90,), "noise": (100,), "grey": (30,), "astronaut": (20, 75)}


def images() -> dict[str, np.ndarray]:
    """Images that integer arithmetic and a file alone define: uint8 [H, W, 3] or [H, W, 1]."""
    y, x = np.mgrid[:21, :45]
    noise = np.arange(1, 40 * 33 * 3 + 1, dtype=np.uint64)
    for multiplier in (6364136223846793005, 1442695040888963407):  # wraps round at 2**64
        noise = noise * np.uint64(multiplier) ^ noise >> np.uint64(29)
    return {
        "one_pixel": np.array([[[200, 100, 50]]], np.uint8),
        "ramp": np.stack((y * 12, x * 5, 255 - y * 6 - x * 2), axis=2).astype(np.uint8),
        "noise": (noise >> np.uint64(56)).astype(np.uint8).reshape(40, 33, 3),
        "grey": ((y * y + x * x) % 256).astype(np.uint8)[..., None],
        "astronaut": read_image(ASTRONAUT)[60:156, 180:300],
    }


def main(replace: bool) -> None:
    for entry in pretrained():
        name = f"{entry.name}.r{entry.revision}"
        codec = isthmus.load(name)
        for entropy, codec_id in ENTROPY.items():
            if codec_id not in entry.tables:
                continue
            folder = GOLDEN / codec_id
            folder.mkdir(parents=True, exist_ok=True)
            for label, image in images().items():
                for quality in QUALITIES[label]:
                    path = folder / f"{name}-{label}-q{quality}.ist"
                    if path.exists() and not replace:
                        continue
                    data = codec.encode(image, quality=quality, entropy=entropy)
                    y = codec.unpack(data).planes["y"].numpy()
                    record = {
                        "codec": name,
                        "entropy": entropy,
                        "image": label,
                        "quality": quality,
                        "image_shape": list(image.shape),
                        "latent_shape": list(y.shape),
                        "latent_sha256": hashlib.sha256(y.astype("<i2").tobytes()).hexdigest(),
                        "tables_hash": entry.tables[codec_id],
                        "weights_hash": entry.weights_hash,
                    }
                    path.write_bytes(data)
                    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
                    write_image(path.with_suffix(".png"), codec.decode(data, output="numpy"))
                    print(f"{path.relative_to(GOLDEN)}: {len(data)} bytes")


if __name__ == "__main__":
    main("--replace" in sys.argv[1:])
