# SPDX-License-Identifier: Apache-2.0
"""Bits a weight of every tensor as a picture."""

from pathlib import Path

from isthmus.errors import MissingExtraError
from isthmus.files import atomic_file
from isthmus.weights.reports.report import TensorReport


def require_matplotlib() -> None:
    """Raises MissingExtraError without matplotlib: better before the work than after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'isthmus[bench]'") from error


def plot(rows: list[TensorReport], path: Path) -> None:
    """Writes a PNG: a dot for each tensor of floats, in order, area by its weights, and its order-0 entropy beside it.

    Raises MissingExtraError without matplotlib, UnwritableFileError.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    shown = [row for row in rows if row.entropy_bits is not None and row.weights]
    largest = max((row.weights for row in shown), default=1)
    areas = [8 + 120 * row.weights / largest for row in shown]
    places = range(len(shown))
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(places, [row.stored_bits for row in shown], areas, color="#0072B2", label="stored", alpha=0.7)
    entropies = [row.entropy_bits or 0.0 for row in shown]
    axes.scatter(places, entropies, 30, color="#D55E00", marker="_", label="order-0 entropy, one table a tensor")
    axes.set_xlabel("tensor, in the order of the file; area: its weights")
    axes.set_ylabel("bits a weight")
    axes.set_ylim(bottom=0)
    axes.set_title(f"{rows[0].file if rows else path.name}: {len(shown)} tensors of floats")
    axes.legend()
    axes.grid(alpha=0.3)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
