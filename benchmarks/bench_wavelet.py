# SPDX-License-Identifier: Apache-2.0
"""Speed of the CPU transform: wavelet alone, analysis to a quantised latent, synthesis, beside walloc's analysis.

    python benchmarks/bench_wavelet.py [--repeats 60] [--height 512 --width 768] [--output FILE.json]

Array to array, 8-bit RGB noise, compilation excluded, minimum and median of the repeats. MPix/s are million pixels (of
three samples) a second at the median, all threads together. walloc's packet transform is measured in the same process,
on float32 of the same image, if it can be imported; "times" is its time over that of ours on as many threads:

    pip install --no-deps --target peers walloc pytorch_wavelets "setuptools<81"
    PYTHONPATH=peers python benchmarks/bench_wavelet.py

(setuptools for `pkg_resources`, which pytorch_wavelets imports.)
"""

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from shared.measurement import RESULTS, facts, measure, write_json

from isthmus.kernels.wavelet.image import analyze_bands, analyze_quantized, synthesize_image, synthesize_linear
from isthmus.kernels.wavelet.packets import analyze_packet, synthesize_packet

GOAL = 10.0  # times walloc's speed, one thread
PEER = "walloc wavelet_analysis"
AGAINST_PEER = ("bands from uint8", "wavelet, float32 to bands")  # the same result as the peer's


def stand_in(name: str, **contents: Any) -> None:
    """An empty module in place of one that walloc imports and its wavelet transform does not use, where missing."""
    try:
        importlib.import_module(name)
    except ImportError:
        module = ModuleType(name)
        module.__dict__.update(contents)
        parent, _, child = name.rpartition(".")
        if parent:
            stand_in(parent)
            setattr(sys.modules[parent], child, module)
        sys.modules[name] = module


def walloc_analysis(image: np.ndarray, threads: int) -> Callable[[], object] | None:
    """walloc's packet transform of `image` on `threads` torch threads, or None where it is not installed."""
    import torch

    nothing = SimpleNamespace(Decoder=lambda **_: torch.nn.Identity())
    stand_in("diffusers.models.autoencoders", autoencoder_kl=nothing)  # the decoder's network: not run here
    stand_in("torchvision.transforms", ToPILImage=object, PILToTensor=object)
    try:
        from walloc.walloc import Codec2D
    except ImportError as error:
        print(f"walloc: not installed ({error})")
        return None
    torch.set_num_threads(threads)
    codec = Codec2D(3, 3, 32, 32, 12, 8, True)  # a small decoder: only the transform is run
    samples = torch.from_numpy(image).float()[None] / 255 - 0.5

    def run() -> object:
        with torch.inference_mode():
            return codec.wavelet_analysis(samples, J=3)

    return run


def cases(image: np.ndarray, threads: int) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    rng = np.random.default_rng(1)
    _, height, width = image.shape
    bands = analyze_bands(image)
    table: dict[str, Callable[[], object]] = {
        "bands from uint8": lambda: analyze_bands(image, threads=threads),
        "image from bands": lambda: synthesize_image(bands, height, width, threads=threads),
    }
    if threads == 1:
        samples = np.pad(image, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge").astype(np.float32)
        table["wavelet, float32 to bands"] = lambda: analyze_packet(samples, 3)
        table["inverse wavelet, bands to float32"] = lambda: synthesize_packet(bands, 3)
    for outputs in (12, 48):
        weight = rng.standard_normal((outputs, 192), dtype=np.float32)
        bias, gain = np.zeros(outputs, np.float32), np.full(outputs, 10, np.float32)
        back, shift = np.ascontiguousarray(weight.T) * np.float32(0.01), np.zeros(192, np.float32)
        latent = analyze_quantized(image, weight, bias, gain)

        def analyze(weight: Any = weight, bias: Any = bias, gain: Any = gain) -> object:
            return analyze_quantized(image, weight, bias, gain, threads=threads)

        def synthesize(latent: Any = latent, back: Any = back, shift: Any = shift, gain: Any = gain) -> object:
            return synthesize_linear(latent, back, shift, 1 / gain, height, width, threads=threads)

        table[f"analyze_quantized, c{outputs}"] = analyze
        table[f"synthesize_linear, c{outputs}"] = synthesize
    peer = walloc_analysis(image, threads)
    if peer is not None:
        table[PEER] = peer
    return table


def times_peer(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How many times the peer's speed ours is, by case and threads, at the medians and the minima; empty without it."""
    found = {(row["case"], row["threads"]): row for row in rows}
    return {
        f"{case}, {threads} thread{'s' * (threads > 1)}": {
            key.removesuffix("_ms"): round(found[PEER, threads][key] / row[key], 1) for key in ("median_ms", "min_ms")
        }
        for (case, threads), row in found.items()
        if case in AGAINST_PEER and (PEER, threads) in found
    }


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--output", type=Path, default=RESULTS / "wavelet.json")
    options = parser.parse_args()
    image = np.random.default_rng(0).integers(0, 256, (3, options.height, options.width), dtype=np.uint8)
    rows = []
    for threads in (1, 2):
        for name, function in cases(image, threads).items():
            row = {"case": name, "threads": threads, **measure(function, options.repeats, image[0].size)}
            rows.append(row)
            figures = f"min {row['min_ms']:8.2f} ms  median {row['median_ms']:8.2f} ms  {row['mpix_per_s']:7.1f} MPix/s"
            print(f"{name:36s} {threads} thread{'s' * (threads > 1):1s}  {figures}")
    times = times_peer(rows)
    for case, ratio in times.items():
        print(f"{case}: {ratio['median']} times walloc's speed (of minima {ratio['min']}; goal {GOAL:g})")
    report = {"image": [3, options.height, options.width], "repeats": options.repeats, **facts()}
    write_json(options.output, report | {"times_walloc": times, "rows": rows})


if __name__ == "__main__":
    main()
