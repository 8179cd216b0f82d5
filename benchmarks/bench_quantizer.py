# SPDX-License-Identifier: Apache-2.0
"""Which quantizer: uniform with several dead zones, or companded as in the published WaLLoC, at equal rate.

    python benchmarks/bench_quantizer.py FOLDER --train TRAINING_FOLDER [--last 24] [--channels 48] [--output FILE.json]

Both on the same transform: the KLT of the wavelet-packet bands of the training folder, its leading channels, over the
last files of FOLDER. Rate is the order-0 entropy of each image and channel, distortion the PSNR of the 8-bit image,
both averaged over images; BD-rate by PCHIP against uniform rounding (offset 0.5), over 0.3 to 1.5 bits per pixel of it.

Uniform: q = sign(y) floor(|y| / step + offset), decoded as q step; the step is swept, one for all channels.
Companded: q = round(2 m (Phi(g y / s) - 1/2)) with 8 bits, s = 127 / 1.85 and m = 127.499, decoded by the inverse with
Phi's argument held to 0.0001 .. 0.9999; the gain g, which training leaves to the analysis layer, is swept. Per channel
it is divided by deviation^a: a = 0 is one gain for all, a = 1 gives every channel the same variance. "dead zone" rounds
the companded value with the offset 0.45 instead of 0.5, to tell the two effects apart.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri
from shared.klt_floor import STEPS, Float32, Klt, Quantizer, rate_distortion_rows, read_rgb, uniform
from shared.measurement import RESULTS, facts, write_json

from isthmus.bench.bd_rate import bd_rate
from isthmus.bench.kinds.image import MEDIUM
from isthmus.bench.runs import CurvePoint, average
from isthmus.media.kinds import list_files

RANGE = (0.3, 1.5)
REFERENCE = "uniform, offset 0.50"
BITS = 8
LARGEST = 2 ** (BITS - 1) - 0.501
SCALE = (2 ** (BITS - 1) - 1) / 1.85


def companded(gain: Float32, offset: float = 0.5) -> Quantizer:
    """Phi-companding of 8 bits with a gain per channel [c]."""

    def quantize(latent: Float32) -> tuple[np.ndarray, Float32]:
        factor = gain[:, None, None] / SCALE
        y = 2 * LARGEST * (ndtr(latent * factor) - 0.5)
        q = np.copysign(np.floor(np.abs(y) + offset), y)
        probability = np.clip(q / (2 * LARGEST) + 0.5, 0.0001, 0.9999)
        return q.astype(np.int32), (ndtri(probability) / factor).astype(np.float32)

    return quantize


def companded_ladder(deviation: Float32, power: float, offset: float = 0.5) -> list[Quantizer]:
    """Gains such that the step at 0 spans the uniform steps' range in the channel of geometric-mean deviation."""
    slope = 2 * LARGEST / (SCALE * np.sqrt(2 * np.pi))  # integers per unit of gain times latent, at 0
    relative = (deviation / np.exp(np.log(deviation).mean())) ** power
    steps = np.geomspace(STEPS[0] / 4, STEPS[-1] * 2, 16)
    return [companded((1 / (slope * step * relative)).astype(np.float32), offset) for step in steps]


def percent(reference: Sequence[CurvePoint], points: Sequence[CurvePoint]) -> dict[str, float] | None:
    """BD-rate in the range, and the PSNR over which it was taken; None where too little is shared."""
    rates = [[p.rate for p in curve] for curve in (reference, points)]
    values = [[p.shown["psnr"] for p in curve] for curve in (reference, points)]
    try:
        found = bd_rate(rates[0], values[0], rates[1], values[1], anchor_range=RANGE)
    except ValueError:
        return None
    return {"percent": round(found.percent, 2), "from_db": round(found.low, 2), "to_db": round(found.high, 2)}


def main() -> None:
    """Fit, sweep, print the BD-rates and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="images to measure on")
    parser.add_argument("--train", type=Path, required=True, help="images to fit the KLT on")
    parser.add_argument("--last", type=int, default=24, help="only the last N files in sorted order")
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--output", type=Path, default=RESULTS / "quantizer.json")
    options = parser.parse_args()
    files, training = list_files(options.folder, "image", last=options.last), list_files(options.train, "image")
    klt = Klt.fit(training)
    images = {path.name: read_rgb(path) for path in files}
    deviation = klt.deviation[: options.channels]
    ladders: dict[str, list[Quantizer]] = {
        f"uniform, offset {offset:.2f}": [uniform(step, offset) for step in STEPS] for offset in (0.5, 0.45, 0.4, 0.35)
    }
    for power in (0.0, 0.25, 0.5, 1.0):
        ladders[f"companded, gain / deviation^{power:g}"] = companded_ladder(deviation, power)
    for power in (0.0, 0.25):
        ladders[f"companded, gain / deviation^{power:g}, dead zone"] = companded_ladder(deviation, power, 0.45)
    curves: dict[str, list[CurvePoint]] = {}
    for name, quantizers in ladders.items():
        rows = rate_distortion_rows(klt, name, options.channels, images, quantizers, similarity=False)
        curves |= average(MEDIUM, rows)
    found: dict[str, Any] = {name: percent(curves[REFERENCE], points) for name, points in curves.items()}
    print(f"{options.channels} channels, {len(files)} images, BD-rate against {REFERENCE}, {RANGE[0]}..{RANGE[1]} bpp")
    for name, rate in found.items():
        span = f"{rate['percent']:+7.2f} %  over {rate['from_db']:.2f} to {rate['to_db']:.2f} dB" if rate else "none"
        print(f"{name:44s} {span}")
    report = {
        "channels": options.channels,
        "images": len(files),
        "training_images": len(training),
        **facts(),
        "bd_rate": {"anchor": REFERENCE, "bpp_range": RANGE, "of": found},
        "curves": {
            name: [[round(p.rate, 4), round(p.shown["psnr"], 3)] for p in points] for name, points in curves.items()
        },
    }
    write_json(options.output, report)


if __name__ == "__main__":
    main()
