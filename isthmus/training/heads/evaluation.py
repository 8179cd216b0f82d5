# SPDX-License-Identifier: Apache-2.0
"""How right a classifier is on a data set of latents."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.datasets.latents.stored.shard import NO_LABEL
from isthmus.models.heads.facts import OUTPUTS

RESAMPLES = 2000
NAMED = "give its labels those names (class folders, or a column `label` of names), and transcode it again"


@dataclass(frozen=True)
class Evaluated:
    """right: of each sample, whether its class came first; among: whether among the first five; loss: mean of nats."""

    right: NDArray[np.bool_]
    among: NDArray[np.bool_]
    loss: float
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    def interval(self, share: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """Of the accuracy, by the bootstrap over samples."""
        return _interval(self.right.astype(float), share, seed)

    def against(self, other: "Evaluated", share: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
        """Accuracy less that of another on the same samples, and its interval by the paired bootstrap."""
        if not np.array_equal(self.labels, other.labels):
            raise ValueError("paired intervals are of the same samples in the same order")
        gain = self.right.astype(float) - other.right.astype(float)
        return (float(gain.mean()), *_interval(gain, share, seed))

    def describe(self) -> dict[str, float]:
        low, high = self.interval()
        top5 = float(self.among.mean())
        return {"accuracy": self.accuracy, "low": low, "high": high, "top5": top5, "loss": self.loss}


def _interval(values: NDArray[np.float64], share: float, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    means = np.array([values[generator.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def evaluate(
    head: nn.Module, data: LatentDataset, labels: NDArray[np.int64], *, batch: int = 256, workers: int = 0
) -> Evaluated:
    """labels: of each sample as the head counts classes, below 0 where it is left out. Raises ValueError for none."""
    indices = np.flatnonzero(labels >= 0)
    if not len(indices):
        raise ValueError(f"{data.path}: no labelled sample to evaluate on")
    return evaluated(logits_of(head, data, indices.tolist(), batch=batch, workers=workers), labels[indices])


def evaluated(logits: Tensor, labels: NDArray[np.int64]) -> Evaluated:
    """What logits [n, classes] on the CPU are worth, of samples of those labels [n]. Raises ValueError beyond them."""
    _check_numbers("evaluation", np.unique(labels), logits.shape[1], "the head has")
    if not bool(logits.isfinite().all()):
        raise ValueError(
            "the head gives no numbers for some samples: its weights are of no use; train it at a lower rate"
        )
    truth = torch.from_numpy(labels)
    first = logits.topk(min(5, logits.shape[1]), 1).indices
    hits = first == truth[:, None]
    loss = float(F.cross_entropy(logits.float(), truth))
    return Evaluated(hits[:, 0].numpy(), hits.any(1).numpy(), loss, labels, first[:, 0].numpy())


@torch.no_grad()
def logits_of(
    head: nn.Module, data: LatentDataset, indices: Sequence[int], *, batch: int = 256, workers: int = 0
) -> Tensor:
    """What a head, in eval mode from here on, gives for samples: float32 [n, classes], on the CPU."""
    device, found = next(head.parameters()).device, []
    head.eval()
    for part in DataLoader(Subset(data, indices), batch_size=batch, num_workers=workers, collate_fn=data.collate):
        mask = None if bool(part["mask"].all()) else part["mask"].to(device)
        y: Tensor = data.dequantize(part["y"], device)  # type: ignore[assignment]
        found.append(head(y, mask).float().cpu())
    return torch.cat(found)


def labels_as(data: LatentDataset, classes: list[str] | None, outputs: int | None = None) -> NDArray[np.int64]:
    """The labels of a data set as a head with those classes, or so many without names, counts them; -100 for none.

    Raises ValueError for a class that the head does not have, and where only one of the two has names.
    """
    return labels_of(data.path, data.labels, data.classes, classes, outputs)


def labels_of(
    where: str, labels: NDArray[np.int64], own: list[str] | None, classes: list[str] | None, outputs: int | None = None
) -> NDArray[np.int64]:
    """As `labels_as`, of labels whose names are `own`."""
    labels = np.where(labels < 0, NO_LABEL, labels)
    used = np.unique(labels[labels >= 0])
    if not len(used):
        return labels
    if own is None or classes is None:
        if classes is not None:
            raise ValueError(
                f"{where}: its labels are numbers without names, the head has classes {_some(classes)}: {NAMED}"
            )
        if own is not None:
            raise ValueError(
                f"{where}: its classes are {_some(own)}, the {outputs or 'classes'} of the head have no names, only "
                "numbers: give numbers as labels (a column `label` of a table), or train with labels that have names"
            )
        _check_numbers(where, used, outputs, "the head has")
        return labels
    _check_numbers(where, used, len(own), "the data set has")
    missing = [own[number] for number in used.tolist() if own[number] not in classes]
    if missing:
        raise ValueError(
            f"{where}: class {missing[0]!r} is none of the {len(classes)} that the head was trained on"
            + (f", and so are {len(missing) - 1} more" if len(missing) > 1 else "")
        )
    places = np.array([classes.index(name) if name in classes else NO_LABEL for name in own], np.int64)
    return np.where(labels >= 0, places[np.clip(labels, 0, len(places) - 1)], NO_LABEL)


def outputs_of(where: str, labels: NDArray[np.int64], classes: list[str] | None) -> int:
    """How many outputs a head of those labels has. Raises ValueError for labels beyond the classes, or absurd ones."""
    used = np.unique(labels[labels >= 0])
    _check_numbers(where, used, len(classes) if classes else OUTPUTS - 1, "it has" if classes else "a head has at most")
    return len(classes) if classes else int(used.max(initial=-1)) + 1


def _check_numbers(where: str, used: NDArray[np.int64], count: int | None, has: str) -> None:
    if count is not None and len(used) and used[-1] >= count:
        raise ValueError(f"{where}: label {used[-1]}, {has} {count} classes: expected numbers from 0 to {count - 1}")


def _some(names: list[str]) -> str:
    told = ", ".join(repr(name) for name in names[:3])
    return told + (f" and {len(names) - 3} more" if len(names) > 3 else "")
