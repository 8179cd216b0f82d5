# SPDX-License-Identifier: Apache-2.0
"""What a rate-distortion run leaves: CSV of all rows, JSON of curves and BD-rates, plots, a Markdown table."""

import csv
import io
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from isthmus.bench.bd_rate import bd_rate
from isthmus.bench.environment import describe_environment
from isthmus.bench.medium import Medium
from isthmus.bench.runs import CurvePoint, Row
from isthmus.errors import MissingExtraError
from isthmus.files import atomic_write, make_folder

Curves = Mapping[str, Sequence[CurvePoint]]

# Okabe and Ito's palette, which colour-blind readers can tell apart, and a marker each for print in grey.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class Saving:
    """BD-rates of a codec in percent (negative: fewer bits than the anchor), by measure; None where nothing is shared.

    in_span: only between the anchor's values at the two ends of a span of rates.
    """

    codec: str
    percent: dict[str, float | None]
    in_span: dict[str, float | None]


def require_matplotlib() -> None:
    """Raise `MissingExtraError` without matplotlib: better before a long run than after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'isthmus[bench]'") from error


def savings(medium: Medium, curves: Curves) -> list[Saving]:
    """BD-rates of every codec but the medium's anchor against it; none if the anchor was not run."""
    reference = curves.get(medium.anchor)
    if reference is None:
        return []

    def percent(points: Sequence[CurvePoint], name: str, span: tuple[float, float] | None) -> float | None:
        try:
            return bd_rate(
                [point.rate for point in reference],
                [point.shown[name] for point in reference],
                [point.rate for point in points],
                [point.shown[name] for point in points],
                anchor_range=span,
            ).percent
        except ValueError:  # too few points, or nothing in common: there is no such figure
            return None

    return [
        Saving(
            codec,
            {name: percent(points, name, None) for name in points[0].shown},
            {name: percent(points, name, medium.span) for name in points[0].shown},
        )
        for codec, points in curves.items()
        if codec != medium.anchor
    ]


def write_report(
    medium: Medium, rows: Sequence[Row], curves: Curves, folder: str | os.PathLike[str], *, title: str = ""
) -> list[Path]:
    """Write rows.csv, curves.json and a plot for each measure, as psnr.png, to `folder`, made if missing.

    Returns the files. Raises `MissingExtraError` without matplotlib, `UnwritableFileError` where one cannot be made.
    """
    require_matplotlib()
    target = Path(folder)
    make_folder(target)
    contents = {"rows.csv": _csv(rows), "curves.json": _json(medium, curves, title)}
    contents |= {f"{name}.png": _plot(medium, curves, name, title) for name in medium.measures}
    for name, data in contents.items():
        atomic_write(target / name, data)
    return [target / name for name in contents]


def markdown_table(medium: Medium, curves: Curves) -> str:
    """A table of the codecs: BD-rates against the anchor, and speeds per thread over all settings."""
    found = {saving.codec: saving for saving in savings(medium, curves)}
    names = list(medium.measures)
    spans = [f", {medium.span[0]:g} to {medium.span[1]:g}", ""] if medium.span else [""]
    head = ["codec", medium.unit, *names]
    head += [f"BD-rate {name}{span}" for name in names for span in spans] if medium.anchor else []
    head += [f"{way} ({medium.amount_unit}/s per thread)" for way in ("encode", "decode")]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for codec, points in curves.items():
        saving = found.get(codec)
        cells = [codec, f"{points[0].rate:.2f} to {points[-1].rate:.2f}"]
        cells += [f"{points[0].shown[name]:.2f} to {points[-1].shown[name]:.2f}" for name in names]
        for name in names if medium.anchor else ():
            ways = [saving.in_span, saving.percent] if saving and medium.span else [saving.percent] if saving else []
            cells += [_percent(way[name]) for way in ways] or ["anchor" if codec == medium.anchor else "none"] * len(
                spans
            )
        cells += [
            f"{_harmonic([getattr(point, f'{way}_speed') for point in points]):.2f}" for way in ("encode", "decode")
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "none shared" if value is None else f"{value:+.1f} %"


def _harmonic(speeds: Sequence[float]) -> float:
    return len(speeds) / sum(1 / speed for speed in speeds)


def _csv(rows: Sequence[Row]) -> bytes:
    """A column for each measure, before the seconds."""
    text = io.StringIO()
    flat = []
    for row in rows:
        plain = asdict(row)
        measures = plain.pop("measures")
        seconds = {key: plain.pop(key) for key in ("encode_seconds", "decode_seconds")}
        flat.append(plain | measures | seconds)
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    for row in flat:
        writer.writerow({key: f"{x:.6g}" if isinstance(x, float) else x for key, x in row.items()})
    return text.getvalue().encode(errors="surrogateescape")  # names as they are


def _json(medium: Medium, curves: Curves, title: str) -> bytes:
    content = {
        "title": title,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        **describe_environment(),
        "units": {"rate": medium.unit, "speed": f"{medium.amount_unit}/s per thread"},
        "bd_rate": {
            "anchor": medium.anchor, "span": medium.span, "savings": [asdict(one) for one in savings(medium, curves)],
        },
        "curves": {codec: [_finite(asdict(point)) for point in points] for codec, points in curves.items()},
    }  # fmt: skip
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """JSON has no infinity: the PSNR of a lossless point becomes null."""
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plot(medium: Medium, curves: Curves, name: str, title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    axes = figure.add_subplot()
    for i, (codec, points) in enumerate(curves.items()):
        shown = [point for point in points if math.isfinite(point.shown[name])]
        axes.plot(
            [point.rate for point in shown],
            [point.shown[name] for point in shown],
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            linewidth=1.8,
            label=codec,
        )
    axes.set_xlabel(f"rate ({medium.unit})")
    axes.set_ylabel(medium.measures[name].label)
    axes.set_title(title)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
