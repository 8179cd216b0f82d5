# SPDX-License-Identifier: Apache-2.0
"""A look at all targets of a training: what there is to tell apart, and the floor that a head begins with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.media.masks import mode_of, palette_of
from isthmus.models.heads import LatentInput
from isthmus.progress import Progress
from isthmus.training.heads.dense.kinds import Classes, Kind, Values
from isthmus.training.heads.dense.pictures import Pictures
from isthmus.training.heads.dense.targets import IGNORED, NOTHING
from isthmus.training.heads.world import is_first

FITTED = 1024  # samples, spread over all, that a linear map is fitted to
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


@dataclass(frozen=True)
class Survey:
    """indices: of samples that something is known of. weight, bias: of `DenseHead.floor`, float32
    [outputs * cell^2, channels, 3, 3] and [outputs * cell^2]. note: what was found, for people."""

    kind: Kind
    indices: NDArray[np.int64]
    weight: Tensor
    bias: Tensor
    note: str


def survey(latents: LatentDataset, pictures: Pictures, about: LatentInput, workers: int) -> Survey:
    """Raises ValueError for targets that nothing can be learned from, and what `Pictures` raises."""
    if pictures.are == "classes":
        return _of_classes(pictures, about, workers)
    return _of_values(latents, pictures, about, workers)


def _of_classes(pictures: Pictures, about: LatentInput, workers: int) -> Survey:
    """The floor says of every pixel how frequent classes are."""
    counts, known = np.zeros(256, np.int64), np.zeros(len(pictures), bool)
    loader: Any = DataLoader(pictures, batch_size=None, num_workers=workers, collate_fn=_same)
    with Progress(len(pictures), "targets", what="looking at targets", shown=is_first()) as shown:
        for place, mask in enumerate(loader):
            found = np.bincount(mask.reshape(-1), minlength=256)
            counts += found
            known[place] = found[:IGNORED].any()
            shown.update()
    numbers = np.flatnonzero(counts[:IGNORED]).tolist()
    if not numbers:
        raise ValueError(f"{pictures.folder}: all pixels of all masks are {IGNORED}, where nothing is known")
    if len(numbers) < 2:
        also = f" beside {IGNORED}, which means that nothing is known" if counts[IGNORED] else ""
        raise ValueError(f"{pictures.folder}: all masks are of one class, {numbers[0]}{also}; expected two or more")
    shares = counts[numbers] / counts[numbers].sum()
    rows = len(numbers) * about.cell**2
    bias = torch.from_numpy(np.log(shares)).float().repeat_interleave(about.cell**2)
    note = f"{len(numbers)} classes, {numbers[0]} to {numbers[-1]}; {IGNORED} is left out"
    left = int((~known).sum())
    note += f"; {left} of {len(known)} samples, whose masks are {IGNORED} alone, too" if left else ""
    kind = Classes(numbers, palette_of(pictures.files[0]))
    return Survey(kind, np.flatnonzero(known), torch.zeros(rows, about.channels, 3, 3), bias, note)


def _of_values(latents: LatentDataset, pictures: Pictures, about: LatentInput, workers: int) -> Survey:
    """The floor is the linear map of least squares, of latents of a cell and its neighbours to its pixels."""
    colours = 1 if all(mode_of(path) in GREY for path in dict.fromkeys(pictures.files)) else 3
    paired = Values([0.0] * colours, [1.0] * colours).paired(latents, pictures, about.cell)
    chosen = sorted({int(i) for i in np.linspace(0, len(paired) - 1, FITTED)})
    loader: Any = DataLoader(Subset(paired, chosen), batch_size=None, num_workers=workers, collate_fn=_same)
    shift, scale = (torch.tensor(v).reshape(-1, 1, 1) for v in (about.mean, about.std))
    width, rows = 9 * about.channels + 1, colours * about.cell**2
    inner, outer = np.zeros((width, width)), np.zeros((width, rows))
    levels = np.zeros((colours, 256), np.int64)
    with Progress(len(chosen), "targets", what="fitting a linear map", shown=is_first()) as shown:
        for sample in loader:
            y: Any = latents.dequantize(sample["y"])
            target = sample["target"]
            for colour, plane in enumerate(target.numpy()):
                levels[colour] += np.bincount(plane[plane != NOTHING], minlength=256)
            pixels = F.pixel_unshuffle(target.double()[None], about.cell)[0].flatten(1).numpy()  # [rows, cells]
            whole = (pixels != NOTHING).all(0)
            cells = F.unfold(((y - shift) / scale.clamp_min(1e-12))[None], 3, padding=1)[0].double().numpy()
            cells = np.concatenate([cells, np.ones((1, cells.shape[1]))])[:, whole]
            inner += cells @ cells.T
            outer += cells @ pixels[:, whole].T
            shown.update()
    counts, values = levels.sum(1), np.arange(256)
    mean = levels @ values / counts
    std = np.sqrt(levels @ values**2 / counts - mean**2)
    if not (std > 0).all():
        raise ValueError(f"{pictures.folder}: all targets are of one value; nothing can be learned from them")
    found = np.linalg.lstsq(inner, outer, rcond=1e-9)[0].T  # [rows, 9 channels + 1]
    shifts, scales = (v.repeat(about.cell**2)[:, None] for v in (mean, std))
    found /= scales
    found[:, -1:] -= shifts / scales
    weight, bias = torch.from_numpy(found[:, :-1]).float().reshape(rows, -1, 3, 3), torch.from_numpy(found[:, -1])
    kind = Values(mean.tolist(), std.tolist())
    return Survey(
        kind, np.arange(len(paired)), weight, bias.float(), f"{'grey' if colours == 1 else 'colours'}, 0 to 255"
    )


def _same(sample: Any) -> Any:
    return sample
