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
import torch
from safetensors.torch import save_file

import isthmus
from isthmus import weights
from isthmus.codecs.registry import pretrained
from isthmus.codecs.walloc.image import ENTROPY
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


def tensors() -> dict[str, torch.Tensor]:
    """Tensors that integer arithmetic alone defines: every dtype that is coded, and others, all kinds of bits."""
    words = np.arange(1, 70_001, dtype=np.uint64)
    for multiplier in (6364136223846793005, 1442695040888963407):  # wraps round at 2**64
        words = words * np.uint64(multiplier) ^ words >> np.uint64(29)
    size = np.uint32(126) - np.minimum((words >> np.uint64(40)) & np.uint64(0xFF), 40).astype(np.uint32) // np.uint32(5)
    floats = (words & np.uint64(0x807FFFFF)).astype(np.uint32) | size << np.uint32(23)
    normal = torch.from_numpy(floats.view(np.float32))
    falling = floats & (floats >> np.uint32(3) | np.uint32(0xFF9FFFFF))  # the first bits of mantissas are mostly 0
    every = torch.arange(0, 1 << 16, 16).to(torch.int16)
    return {
        "bf16": torch.from_numpy((floats >> np.uint32(16)).astype(np.uint16).view(np.int16)).view(torch.bfloat16),
        "bf16 falling": torch.from_numpy((falling[:9001] >> np.uint32(16)).astype(np.uint16).view(np.int16)).view(
            torch.bfloat16
        ),
        "f32": normal[:3000].reshape(30, 100),
        "f32 falling": torch.from_numpy(falling[:9001].view(np.float32)),
        "f32 of bf16": torch.from_numpy((floats[:5000] & np.uint32(0xFFFF0000)).view(np.float32)),
        "f16 of every kind": every.view(torch.float16).reshape(2, 16, 128),
        "e4m3": torch.from_numpy((floats[:4000] >> np.uint32(20)).astype(np.uint8)).view(torch.float8_e4m3fn),
        "e5m2": torch.from_numpy((floats[:4000] >> np.uint32(21)).astype(np.uint8)).view(torch.float8_e5m2),
        "zeros": torch.zeros(1000, 70, dtype=torch.bfloat16),
        "scalar": torch.tensor(-0.0, dtype=torch.bfloat16),
        "empty": torch.empty(3, 0, dtype=torch.float16),
        "counts": torch.arange(12).reshape(3, 4),
    }


def digest_of(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's bytes."""
    return hashlib.sha256(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def weight_streams(replace: bool) -> None:
    """Streams and files of `dfloat.1`."""
    folder, codec = GOLDEN / "dfloat.1", isthmus.load("dfloat")
    folder.mkdir(parents=True, exist_ok=True)
    made = tensors()
    record = {name: {"dtype": str(t.dtype), "shape": list(t.shape), "sha256": digest_of(t)} for name, t in made.items()}
    for mode in ("huffman", "rans"):
        path = folder / f"set-{mode}.ist"
        if path.exists() and not replace:
            continue
        path.write_bytes(codec.encode(made, mode=mode))
        path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
        original = folder / f"file-{mode}.safetensors"
        save_file(made, original, metadata={"format": "pt"})
        weights.compress(original, folder / f"file-{mode}.df.safetensors", mode=mode, index=True, threads=1)
        original.unlink()
        print(f"{path.relative_to(GOLDEN)}: {path.stat().st_size} bytes, and a file")


def main(replace: bool) -> None:
    weight_streams(replace)
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
