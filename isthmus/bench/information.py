# SPDX-License-Identifier: Apache-2.0
"""Where the bits of a data set of latents are: by channel and place, with and without contexts; what labels tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.entropy.analysis import LabelInformation, code_length, label_information
from isthmus.entropy.analysis.information import PRIOR
from isthmus.progress import Progress

REACH = 32  # integers beyond it count as those at it, in what labels tell; with tables as in bits by channel
GROUP = 256  # samples that are unpacked at once

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Information:
    """Of plane "y" of `samples` samples.

    channel_bits: [c], bits of a number by a table of its channel alone (order 0, tables learned as they go).
    stream_bits: of a whole stream, its header included, on average, as it is stored. order0_bits: of all numbers of a
    sample by those tables. place_bits: [*grid], of the numbers at each place, where all samples have one grid. labels:
    what they tell, if there are two classes or more.
    """

    samples: int
    channel_bits: Float64
    order0_bits: float
    stream_bits: float
    place_bits: Float64 | None
    labels: LabelInformation | None

    def describe(self) -> dict[str, Any]:
        """As JSON values."""
        told = self.labels
        return {
            "samples": self.samples,
            "channel_bits": self.channel_bits.tolist(),
            "order0_bits": self.order0_bits,
            "stream_bits": self.stream_bits,
            "labels": None if told is None else {
                "bits": told.bits.tolist(), "control": told.control.tolist(), "low": told.low.tolist(),
                "high": told.high.tolist(),
            },
        }  # fmt: skip

    def table(self) -> list[list[str]]:
        """Lines of cells, the header first."""
        lines = [["channel", "", "bits a number", "bits of label a sample", "95 % interval", ""]]
        for channel, bits in enumerate(self.channel_bits):
            told = ["", ""]
            if self.labels is not None:
                low, high = self.labels.low[channel], self.labels.high[channel]
                told = [f"{self.labels.net[channel]:.2f}", f"{low:.2f} to {high:.2f}"]
            lines.append([str(channel), "", f"{bits:.3f}", *told, ""])
        return lines


class Counts:
    """How often each integer is in each channel; grows as they come."""

    def __init__(self, channels: int) -> None:
        self.low, self.counts = 0, np.zeros((channels, 1), np.int64)

    def add(self, y: NDArray[np.int64]) -> None:
        """Of a latent [c, *grid]."""
        below = max(0, self.low - int(y.min()))
        above = max(0, int(y.max()) - self.low - self.counts.shape[1] + 1)
        if below or above:
            self.counts, self.low = np.pad(self.counts, ((0, 0), (below, above))), self.low - below
        for channel, values in enumerate(y.reshape(len(y), -1)):
            self.counts[channel] += np.bincount(values - self.low, minlength=self.counts.shape[1])

    def table(self) -> Float64:
        """Bits of each integer in each channel, [c, integers]."""
        mass = self.counts + PRIOR
        return np.asarray(-np.log2(mass / mass.sum(1, keepdims=True)), np.float64)

    def costs(self, y: NDArray[np.int64], bits: Float64) -> Float64:
        """Of each number of a latent by `table`, [c, *grid]."""
        channel = np.arange(len(y)).reshape(-1, *(1,) * (y.ndim - 1))
        return np.asarray(bits[channel, y - self.low], np.float64)


def measure(data: LatentDataset, *, seed: int = 0) -> Information:
    """Reads a whole data set twice: counts, then costs by place. Raises ValueError for an empty one."""
    if not len(data):
        raise ValueError(f"{data.path}: no samples to measure")
    channels = len(data.mean["y"])
    histograms, counts = np.zeros((len(data), channels, 2 * REACH + 1), np.int64), Counts(channels)
    streams = 0
    with Progress(len(data), "samples", what="counting") as shown:
        for number, y in _each(data):
            if y.size:
                counts.add(y)
            for channel in range(channels):
                cut = np.clip(y[channel].reshape(-1), -REACH, REACH) + REACH
                histograms[number, channel] = np.bincount(cut, minlength=2 * REACH + 1)
            streams += len(data.stream(number))
            shown.update()
    bits, numbers = code_length(counts.counts), counts.counts.sum(1)
    labels, told = data.labels, None
    known = labels >= 0
    if len(np.unique(labels[known])) > 1:
        told = label_information(histograms[known], labels[known], seed=seed)
    return Information(
        len(data), bits / np.maximum(1, numbers), float(bits.sum() / len(data)), 8 * streams / len(data),
        _by_place(data, counts), told,
    )  # fmt: skip


def _each(data: LatentDataset) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for start in range(0, len(data), GROUP):
        for number, sample in enumerate(data.__getitems__(range(start, min(start + GROUP, len(data))))):
            yield start + number, sample["y"].numpy().astype(np.int64)


def _by_place(data: LatentDataset, counts: Counts) -> Float64 | None:
    shape = data.shapes["y"]
    if shape is None:
        return None
    total, bits = np.zeros(shape[1:]), counts.table()
    for _, y in _each(data):
        total += counts.costs(y, bits).sum(0)
    return total / len(data)


def plot(found: Information, path: Path) -> None:
    """Bits by channel, what labels tell, and bits by place."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3 if found.place_bits is not None else 2, figsize=(14, 4), layout="constrained")
    places = np.arange(len(found.channel_bits))
    axes[0].bar(places, found.channel_bits)
    axes[0].set(xlabel="channel", ylabel="bits a number", title="by a table of the channel")
    if found.labels is not None:
        error = np.stack([found.labels.net - found.labels.low, found.labels.high - found.labels.net]).clip(0)
        axes[1].bar(places, found.labels.net, yerr=error)
    axes[1].set(xlabel="channel", ylabel="bits a sample", title="what labels tell, less what shuffled ones do")
    if found.place_bits is not None:
        grid = found.place_bits if found.place_bits.ndim == 2 else found.place_bits[None]
        drawn = axes[2].imshow(grid, aspect="equal" if found.place_bits.ndim == 2 else "auto")
        axes[2].set(title="bits by place")
        figure.colorbar(drawn, ax=axes[2])
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
