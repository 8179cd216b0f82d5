# SPDX-License-Identifier: Apache-2.0
"""What a comparison of ways leaves: a table, JSON, a plot of accuracy against bytes and of latency against links."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.bench.environment import describe_environment
from isthmus.bench.report import COLOURS, MARKERS
from isthmus.bench.split.latency import BANDWIDTHS, Latency, crossing
from isthmus.bench.split.measure import STEPS, Measured
from isthmus.files import atomic_write
from isthmus.split.link import Link


def table(found: Sequence[Measured], whole: Measured) -> list[list[str]]:
    """Lines for people. whole: the whole network, that differences of accuracy are to."""
    judged = whole.judged is not None
    lines = [
        ["way", "setting", "bytes", *(["top-1 %", "95 %", "to whole"] if judged else []), *(f"{s} ms" for s in STEPS)]
    ]
    for one in found:
        line = [one.way.name, one.way.setting, f"{one.sizes.mean():,.0f}" if one.way.sends else "-"]
        if one.judged is not None and whole.judged is not None:
            low, high = one.judged.interval()
            gain, least, most = one.judged.against(whole.judged)
            line += [f"{100 * one.judged.accuracy:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"]
            line += [f"{100 * gain:+.1f} ({100 * least:+.1f} to {100 * most:+.1f})"]
        lines.append([*line, *(f"{1e3 * np.median(row):.2f}" for row in one.seconds)])
    return lines


def sentences(shown: Sequence[Latency]) -> list[str]:
    """How links decide between the first way and each other one."""
    first, told = shown[0], []
    for other in shown[1:]:
        name = f"{other.measured.way.name} {other.measured.way.setting}".strip()
        place = crossing(first, other)
        if place is not None:
            told.append(f"{name}: slower than the split below {place / 1e6:.3g} Mbit/s, faster above")
        elif (other.p50 > first.p50).all():
            told.append(f"{name}: slower than the split at every bandwidth")
        elif (other.p50 <= first.p50).all():
            told.append(f"{name}: faster than the split at every bandwidth")
        else:
            told.append(f"{name}: faster than the split below some bandwidth, slower above")
    return told


def write_report(
    found: Sequence[Measured], whole: Measured, shown: Sequence[Latency], link: Link, slower: float, folder: Path,
    title: str,
) -> list[Path]:  # fmt: skip
    """split.json and split.png in `folder`."""
    told: dict[str, Any] = {
        "title": title, "environment": describe_environment(),
        "link": {"round_trip": link.round_trip, "loss": link.loss, "jitter": link.jitter, "seed": link.seed},
        "device_slower": slower, "ways": [_described(one, whole) for one in found],
        "latency": {
            "bandwidths": list(BANDWIDTHS),
            "ways": [
                {"way": one.measured.way.name, "setting": one.measured.way.setting, "p50_ms": (one.p50 * 1e3).tolist(),
                 "p95_ms": (one.p95 * 1e3).tolist()}
                for one in shown
            ],
            "told": sentences(shown),
        },
    }  # fmt: skip
    paths = [folder / "split.json", folder / "split.png"]
    atomic_write(paths[0], json.dumps(told, indent=1).encode() + b"\n")
    _plot(found, shown, title, paths[1])
    return paths


def _described(one: Measured, whole: Measured) -> dict[str, Any]:
    found = one.describe()
    if one.judged is not None and whole.judged is not None:
        found |= dict(zip(("gain", "gain_low", "gain_high"), one.judged.against(whole.judged), strict=True))
    return found


def _plot(found: Sequence[Measured], shown: Sequence[Latency], title: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    judged = [one for one in found if one.judged is not None and one.way.sends]
    figure, axes = plt.subplots(
        1, 2 if judged else 1, figsize=(12 if judged else 6, 4.5), layout="constrained", squeeze=False
    )
    names = list(dict.fromkeys(one.way.name for one in found))
    for number, name in enumerate(names):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        points = sorted(
            (float(one.sizes.mean()), one.judged.accuracy, *one.judged.interval())
            for one in judged
            if one.way.name == name and one.judged is not None
        )
        if points:
            size, right, low, high = np.array(points).T * [[1], [100], [100], [100]]
            error = np.stack([right - low, high - right]).clip(0)
            axes[0, 0].errorbar(size, right, error, label=name, capsize=2, **style)
        for one in shown:
            if one.measured.way.name == name:
                label = f"{name} {one.measured.way.setting}".strip()
                axes[0, -1].plot(np.array(BANDWIDTHS) / 1e6, one.p50 * 1e3, label=label, **style)
                axes[0, -1].fill_between(
                    np.array(BANDWIDTHS) / 1e6, one.p50 * 1e3, one.p95 * 1e3, color=style["color"], alpha=0.15
                )
    if judged:
        axes[0, 0].set(xscale="log", xlabel="bytes a picture", ylabel="top-1 accuracy, % (95 % interval)")
        axes[0, 0].legend()
    axes[0, -1].set(xscale="log", yscale="log", xlabel="bandwidth, Mbit/s", ylabel="ms to the answer (median to p95)")
    axes[0, -1].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
