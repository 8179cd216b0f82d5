# SPDX-License-Identifier: Apache-2.0
"""Speed of the CPU transform: wavelet alone, analysis to a quantised latent, synthesis, beside walloc's analysis.

    python benchmarks/bench_wavelet.py [--repeats 60] [--height 512 --width 768] [--output FILE.json]

Array to array, 8-bit RGB noise, compilation excluded, minimum and median of the repeats. MPix/s are million pixels (of
three samples) a second at the median, all threads together. walloc is measured in the same process, on float32 of the
same image, if it and pytorch_wavelets can be imported.
"""

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np

from isthmus.kernels.image_transform import analyze_bands, analyze_quantized, synthesize_image, synthesize_linear
from isthmus.kernels.numba_wavelet import analyze_packet, synthesize_packet

HERE = Path(__file__).resolve().parent


def measure(function: Callable[[], object], repeats: int, pixels: int) -> dict[str, float]:
    """Minimum and median seconds of `function`, called twice before."""
    for _ in range(2):
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    return {
        "min_ms": round(min(seconds) * 1e3, 3),
        "median_ms": round(median * 1e3, 3),
        "mpix_per_s": round(pixels / median / 1e6, 1),
    }


def walloc_analysis(image: np.ndarray, threads: int) -> Callable[[], object] | None:
    """walloc's packet transform of `image` on `threads` torch threads, or None where it is not installed."""
    try:
        import torch
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
        table["walloc wavelet_analysis"] = peer
    return table


def machine() -> dict[str, str]:
    """Where the figures come from: processor, versions, commit."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return {
        "processor": processor,
        "llvm_target": llvmlite.binding.get_host_cpu_name(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "commit": git.stdout.strip() if git.returncode == 0 else "none",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "wavelet.json")
    options = parser.parse_args()
    image = np.random.default_rng(0).integers(0, 256, (3, options.height, options.width), dtype=np.uint8)
    rows = []
    for threads in (1, 2):
        for name, function in cases(image, threads).items():
            row = {"case": name, "threads": threads, **measure(function, options.repeats, image[0].size)}
            rows.append(row)
            figures = f"min {row['min_ms']:8.2f} ms  median {row['median_ms']:8.2f} ms  {row['mpix_per_s']:7.1f} MPix/s"
            print(f"{name:36s} {threads} thread{'s' * (threads > 1):1s}  {figures}")
    report = {"image": [3, options.height, options.width], "repeats": options.repeats, **machine(), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
