# SPDX-License-Identifier: Apache-2.0
"""Our codecs, Pillow's, and the KLT floor over a folder of photographs: BD-rates, and decibels above the floor.

    python benchmarks/bench_rate_distortion.py FOLDER --train TRAINING_FOLDER [--last 24] [--output FILE.json]

`isthmus bench image` on the last files of FOLDER (real bytes, with headers), and as two more curves the floor at 12 and
48 channels: the KLT of the wavelet-packet bands of the training folder, uniform steps with the codecs' dead zone, and
for its rate the order-0 entropy of each image and channel, on paper. BD-rate: PCHIP over log rate, PSNR averaged over
images, against JPEG over 0.3 to 1.5 bits per pixel. Above the floor: the codec's PSNR less the floor's at equal rate;
at rates beyond the floor's last point, less its last (it saturates). Writes FILE.json, .csv (all rows) and .png.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from shared.klt_floor import STEPS, Klt, rate_distortion_rows, read_rgb, uniform
from shared.measurement import RESULTS, facts, write_json

import isthmus
from isthmus.bench import report, runs
from isthmus.bench.bd_rate import Pchip, monotone_points
from isthmus.bench.kinds.image import MEDIUM
from isthmus.media.kinds import list_files
from isthmus.models.walloc.image import ROUNDING_OFFSET

FLOORS = {"walloc-image-f8c12": ("klt 12, on paper", 12), "walloc-image-f8c48": ("klt 48, on paper", 48)}
GOALS = {"f8c48 BD-rate against JPEG, %": -34.0, "f8c12 above its floor, dB": 1.0}
FLOOR_REACH = 0.54  # bits per pixel at which f8c12 must stand above its floor: where that is nearly saturated


def above(points: list[runs.CurvePoint], floor: list[runs.CurvePoint]) -> list[dict[str, float]]:
    """Each point of a codec with the floor's PSNR at its rate, from the floor's first point on."""
    rate, value = monotone_points([p.rate for p in floor], [p.shown["psnr"] for p in floor])
    curve = Pchip(np.log(rate), value)
    found = []
    for point in points:
        if point.rate < rate[0]:
            continue
        beneath = float(curve([np.log(min(point.rate, rate[-1]))])[0])
        quality, psnr = int(point.setting.removeprefix("quality=")), point.shown["psnr"]
        found.append({"quality": quality, "bpp": point.rate, "psnr": psnr, "floor": beneath})
    return [{**{k: round(v, 4) for k, v in row.items()}, "db": round(row["psnr"] - row["floor"], 3)} for row in found]


def above_at(points: list[dict[str, float]], bpp: float) -> float | None:
    """Decibels above the floor at a rate, between the points; None outside them."""
    rates = [row["bpp"] for row in points]
    return float(Pchip(rates, [row["db"] for row in points])([bpp])[0]) if rates[0] <= bpp <= rates[-1] else None


def main() -> None:
    """Measure, print the tables and write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="images to measure on, none of them trained on")
    parser.add_argument("--train", type=Path, required=True, help="images to fit the KLT on")
    parser.add_argument("--last", type=int, default=24, help="only the last N files in sorted order")
    parser.add_argument("--output", type=Path, default=RESULTS / "rate_distortion.json")
    options = parser.parse_args()
    report.require_matplotlib()
    files = list_files(options.folder, "image", last=options.last)
    training = list_files(options.train, "image")
    both = {path.stem for path in files} & {path.stem for path in training}
    if both:
        raise SystemExit(f"{len(both)} images are in both folders, such as {min(both)}: nothing would be shown")
    klt = Klt.fit(training)
    images = {path.name: read_rgb(path) for path in files}
    peers, notes = MEDIUM.peers()
    print(*notes, sep="\n", end="\n" if notes else "")
    codecs: list[Any] = [*map(isthmus.load, isthmus.list_codecs("image")), *peers]
    rows = runs.run(MEDIUM, files, codecs)
    for name, channels in FLOORS.values():
        rows += rate_distortion_rows(klt, name, channels, images, [uniform(step) for step in STEPS])
    curves = runs.average(MEDIUM, rows)
    print(report.markdown_table(MEDIUM, curves))

    over = {}
    for codec, (floor, _) in FLOORS.items():
        over[codec] = above(curves[codec], curves[floor])
        print(f"\n{codec} above {floor}")
        for row in over[codec]:
            print(f"  q{row['quality']:<3.0f} {row['bpp']:6.3f} bpp  {row['psnr']:6.2f} dB  {row['db']:+.2f} dB")
    savings = {saving.codec: saving.in_span["psnr"] for saving in report.savings(MEDIUM, curves)}
    checks = {
        "f8c48 BD-rate against JPEG, %": savings["walloc-image-f8c48"],
        "f8c12 above its floor, dB": above_at(over["walloc-image-f8c12"], FLOOR_REACH),
    }
    print()
    for what, found in checks.items():
        met = found is not None and (found <= GOALS[what] if "BD" in what else found >= GOALS[what])
        where = f" at {FLOOR_REACH} bpp" if "floor" in what else ""
        figure = "none" if found is None else f"{found:+.2f}"
        print(f"{what}{where}: {figure}, goal {GOALS[what]:+g}: {'met' if met else 'NOT MET'}")

    title = f"{len(files)} photographs, not trained on"
    with tempfile.TemporaryDirectory() as folder:
        report.write_report(MEDIUM, rows, curves, folder, title=title)
        content = json.loads(Path(folder, "curves.json").read_text())
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.with_suffix(".csv").write_bytes(Path(folder, "rows.csv").read_bytes())
        options.output.with_suffix(".png").write_bytes(Path(folder, "psnr.png").read_bytes())
    content |= {
        **facts(),
        "command": "python benchmarks/bench_rate_distortion.py FOLDER --train TRAINING_FOLDER",
        "images": [path.stem for path in files],
        "training_images": len(training),
        "rounding_offset_of_the_floor": ROUNDING_OFFSET,
        "goals": {what: {"goal": GOALS[what], "found": found} for what, found in checks.items()},
        "above_floor": over,
    }
    write_json(options.output, content)


if __name__ == "__main__":
    main()
