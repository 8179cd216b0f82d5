# SPDX-License-Identifier: Apache-2.0
"""What a rate-distortion run leaves: CSV of all rows, JSON of curves and BD-rates, plots, a Markdown table."""

import csv
import io
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from isthmus.bench.bd_rate import bd_rate
from isthmus.bench.environment import describe_environment
from isthmus.bench.rate_distortion import CurvePoint, Row
from isthmus.errors import MissingExtraError
from isthmus.files import atomic_write, make_folder

Curves = Mapping[str, Sequence[CurvePoint]]

_WAYS = ("encode", "decode")
# field of CurvePoint: (axis label, file name)
_PLOTS = {
    "psnr": ("PSNR, RGB (dB)", "psnr.png"),
    "ms_ssim_db": ("MS-SSIM (dB: -10 log10(1 - MS-SSIM))", "ms_ssim.png"),
    "lpips": ("LPIPS (lower is better)", "lpips.png"),
}
# Okabe and Ito's palette, which colour-blind readers can tell apart, and a marker each for print in grey.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class Saving:
    """BD-rates of a codec in percent (negative: fewer bits than the anchor); None where no quality is shared.

    in_range: only between the anchor's qualities at the two ends of a range of bits per pixel.
    """

    codec: str
    psnr: float | None
    psnr_in_range: float | None
    ms_ssim: float | None
    ms_ssim_in_range: float | None


def require_matplotlib() -> None:
    """Raise `MissingExtraError` without matplotlib: better before a long run than after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'isthmus[bench]'") from error


def savings(curves: Curves, anchor: str, bpp_range: tuple[float, float]) -> list[Saving]:
    """BD-rates of every codec but the anchor against it; none if the anchor was not run."""
    if anchor not in curves:
        return []

    def percent(points: Sequence[CurvePoint], metric: str, limits: tuple[float, float] | None) -> float | None:
        reference = curves[anchor]
        try:
            return bd_rate(
                [point.bpp for point in reference],
                [getattr(point, metric) for point in reference],
                [point.bpp for point in points],
                [getattr(point, metric) for point in points],
                anchor_range=limits,
            ).percent
        except ValueError:  # too few points, or no quality in common: there is no such figure
            return None

    return [
        Saving(
            codec,
            percent(points, "psnr", None),
            percent(points, "psnr", bpp_range),
            percent(points, "ms_ssim_db", None),
            percent(points, "ms_ssim_db", bpp_range),
        )
        for codec, points in curves.items()
        if codec != anchor
    ]


def write_report(
    rows: Sequence[Row],
    curves: Curves,
    folder: str | os.PathLike[str],
    *,
    anchor: str = "jpeg",
    bpp_range: tuple[float, float] = (0.3, 1.5),
    title: str = "",
) -> list[Path]:
    """Write rows.csv, curves.json, psnr.png and ms_ssim.png (lpips.png if measured) to `folder`, made if missing.

    Returns the files. Raises `MissingExtraError` without matplotlib, `UnwritableFileError` where one cannot be made.
    """
    require_matplotlib()
    target = Path(folder)
    make_folder(target)
    contents = {
        "rows.csv": _csv(rows),
        "curves.json": _json(curves, savings(curves, anchor, bpp_range), anchor, bpp_range, title),
    }
    for metric, (label, name) in _PLOTS.items():
        if all(getattr(point, metric) is not None for points in curves.values() for point in points):
            contents[name] = _plot(curves, metric, label, title)
    for name, data in contents.items():
        atomic_write(target / name, data)
    return [target / name for name in contents]


def markdown_table(curves: Curves, *, anchor: str = "jpeg", bpp_range: tuple[float, float] = (0.3, 1.5)) -> str:
    """A table of the codecs: BD-rates against the anchor, and speeds per thread over the whole ladder."""
    found = {saving.codec: saving for saving in savings(curves, anchor, bpp_range)}
    span = f"{bpp_range[0]:g} to {bpp_range[1]:g} bpp"
    lines = [
        f"| codec | bpp | PSNR (dB) | BD-rate PSNR, {span} | BD-rate PSNR | BD-rate MS-SSIM, {span} | BD-rate MS-SSIM "
        "| encode (MPix/s per thread) | decode (MPix/s per thread) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for codec, points in curves.items():
        saving = found.get(codec)
        figures = (
            [_percent(x) for x in (saving.psnr_in_range, saving.psnr, saving.ms_ssim_in_range, saving.ms_ssim)]
            if saving
            else ["anchor" if codec == anchor else "none"] * 4
        )
        encode, decode = (_harmonic([getattr(point, f"{way}_mpix_per_second") for point in points]) for way in _WAYS)
        cells = [
            codec,
            f"{points[0].bpp:.2f} to {points[-1].bpp:.2f}",
            f"{points[0].psnr:.2f} to {points[-1].psnr:.2f}",
            *figures,
            f"{encode:.2f}",
            f"{decode:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "none shared" if value is None else f"{value:+.1f} %"


def _harmonic(speeds: Sequence[float]) -> float:
    return len(speeds) / sum(1 / speed for speed in speeds)


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{x:.6g}" if isinstance(x, float) else x for key, x in asdict(row).items()})
    return text.getvalue().encode()


def _json(curves: Curves, found: Sequence[Saving], anchor: str, bpp_range: tuple[float, float], title: str) -> bytes:
    content = {
        "title": title,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        **describe_environment(),
        "bd_rate": {"anchor": anchor, "bpp_range": bpp_range, "percent": [asdict(saving) for saving in found]},
        "curves": {codec: [_finite(asdict(point)) for point in points] for codec, points in curves.items()},
    }
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _finite(point: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: the PSNR of a lossless point becomes null."""
    return {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in point.items()}


def _plot(curves: Curves, metric: str, label: str, title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    axes = figure.add_subplot()
    for i, (codec, points) in enumerate(curves.items()):
        shown = [point for point in points if math.isfinite(getattr(point, metric))]
        axes.plot(
            [point.bpp for point in shown],
            [getattr(point, metric) for point in shown],
            color=_COLOURS[i % len(_COLOURS)],
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=5,
            linewidth=1.8,
            label=codec,
        )
    axes.set_xlabel("rate (bits per pixel)")
    axes.set_ylabel(label)
    axes.set_title(title)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
