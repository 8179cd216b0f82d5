# SPDX-License-Identifier: Apache-2.0
"""What a device computes of a picture: a linear head beside the convolutional one, on one thread.

    python benchmarks/bench_split_heads.py [--linear walloc-image-f8c12] [--channels 12] [--side 224] [--repeats 200]

The convolutional head runs in onnxruntime (`isthmus split export`), as fast as any of its numbers make it; the linear
one in isthmus's own kernels, and in onnxruntime too. By turns in one process, medians. With coding: bytes of the
photograph that ships, against its raw pixels. Goals: 20 times as fast, a tenth of the bytes of raw pixels.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from shared.measurement import RESULTS, facts, measure_together, write_json

import isthmus
from isthmus.codecs.bottlefit.codec import BottlefitCodec
from isthmus.kernels.tier import kernels_only
from isthmus.media.image import read_image
from isthmus.models.bottleneck import BottleneckConfig
from isthmus.samples import ASTRONAUT
from isthmus.split.beginning import weights_at_first
from isthmus.split.export import export_head

TIMES, SMALLER, QUALITY = 20, 10, 50


def session_of(codec: Any, folder: Path) -> onnxruntime.InferenceSession:
    """Its head on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(export_head(codec, folder), options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--linear", default="walloc-image-f8c12")
    parser.add_argument("--channels", type=int, default=12)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    linear: Any = isthmus.load(options.linear)
    convolutional = BottlefitCodec("bottlefit", weights_at_first(BottleneckConfig(options.channels), 224), "cpu")
    corner = read_image(ASTRONAUT)[80 : 80 + options.side, 150 : 150 + options.side]
    planes = np.ascontiguousarray(corner.transpose(2, 0, 1))
    picture, given = torch.from_numpy(planes), {"pixels": planes[None], "quality": np.array(QUALITY)}
    with tempfile.TemporaryDirectory() as folder, kernels_only():
        one, other = session_of(convolutional, Path(folder) / "a"), session_of(linear, Path(folder) / "b")
        latents = {name: codec.analyze(picture, quality=QUALITY) for name, codec in
                   (("linear", linear), ("convolutional", convolutional))}  # fmt: skip
        found = measure_together({
            "linear kernel": lambda: linear.weights.linear.analyze_image(planes, QUALITY),
            "linear, a latent": lambda: linear.analyze(picture, quality=QUALITY),
            "linear, onnxruntime": lambda: other.run(["symbols"], given),
            "convolutional, onnxruntime": lambda: one.run(["symbols"], given),
            "convolutional, torch": lambda: convolutional.analyze(picture, quality=QUALITY),
            "linear, coding": lambda: linear.pack(latents["linear"]),
            "convolutional, coding": lambda: convolutional.pack(latents["convolutional"]),
        }, options.repeats, planes.size // 3)  # fmt: skip
    sizes = {"raw": planes.size, "linear": len(linear.pack(latents["linear"]))}
    milliseconds = {name: values["median_ms"] for name, values in found.items() if isinstance(values, dict)}
    for name, value in milliseconds.items():
        print(f"{name}: {value:.3f} ms")
    times = milliseconds["convolutional, onnxruntime"] / milliseconds["linear kernel"]
    smaller = sizes["raw"] / sizes["linear"]
    print(f"the linear head is {times:.1f} times as fast (goal {TIMES}), its bytes {smaller:.0f} times fewer than raw")
    report = {
        "side": options.side, "channels": options.channels, "quality": QUALITY, "milliseconds": milliseconds,
        "times_as_fast": times, "bytes": sizes, "times_fewer_bytes": smaller, "goals": [TIMES, SMALLER],
    }  # fmt: skip
    write_json(RESULTS / "split_heads.json", {**facts(), **report})


if __name__ == "__main__":
    main()
