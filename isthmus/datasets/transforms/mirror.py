# SPDX-License-Identifier: Apache-2.0
"""What flipping an image does to its latents: a matrix over the channels of five cells.

Wavelet filters are symmetric about pixels of a grid that a flip does not keep: of a line of N pixels the lowest band
sits at pixels 0, 8, 16, ..., after the flip at N - 1, N - 9, ..., which lie between the old ones unless N - 1 is a
multiple of 8; and then other bands' places move. So no signs and no matrix over one cell give the flipped latents, and
no matrix at all gives them exactly, as a codec keeps few channels of all bands. What can be had is the linear estimate
of least squared error from cells nearby. It needs covariances only, which follow from the analysis and a model of
photographs (`photographs`), at the border too: nothing is fitted, nothing is shipped, and it takes a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from isthmus.datasets.transforms.analysis import Analysis, axis_bands
from isthmus.datasets.transforms.photographs import blobs
from isthmus.devices import usual_settings

REACH = 2  # cells to each side of the mirrored one that are looked at; 3 gain less than 2 % of the error
BORDER = 6  # cells that a border shows in: 4 by the analysis, 2 more by what is looked at
ACROSS = 13  # cells of the other axis, of which the middle one sees no border
KNOWN_TO = 80  # latents are taken to be known but for a rounding half as wide as that of this quality, so that cells
# which hardly differ, as at borders where the image was continued, are not told apart by their rounding


@dataclass(frozen=True, eq=False)
class Mirror:
    """The estimate for lines of some length, float64.

    matrices: [cells, (2 reach + 1) c, c], for each cell of the result that from the latents of the mirrored cells
    nearby, in the mirrored order. constants: [cells, c]. errors: [cells, c], of the model of photographs: squared
    error over variance.
    """

    matrices: Tensor
    constants: Tensor
    errors: Tensor
    variances: Tensor

    @property
    def error(self) -> float:
        """Squared error over variance of all channels together, in cells that see no border if there are such."""
        middle = len(self.errors) // 2
        return float((self.errors * self.variances)[middle].sum() / self.variances[middle].sum())

    def stretched(self, cells: int) -> Mirror:
        """For a longer line: the middle cell's numbers serve all cells that see no border."""
        known = len(self.matrices)
        place = torch.arange(cells)
        place = torch.where(place < BORDER, place, torch.where(place >= cells - BORDER, place - cells + known, BORDER))
        return Mirror(*(x[place] for x in (self.matrices, self.constants, self.errors, self.variances)))


def mirror(analysis: Analysis, pixels: int, reach: int = REACH) -> Mirror:
    """For lines of so many pixels along x. reach: cells to each side of the mirrored one to look at, at most REACH."""
    cells, known = -(-pixels // analysis.cell), 2 * BORDER + 1
    if cells <= known:
        return _solve(analysis, pixels, reach)
    return _solve(analysis, pixels - (cells - known) * analysis.cell, reach).stretched(cells)


@lru_cache(maxsize=32)  # eight remainders of pixels, two axes
def _solve(analysis: Analysis, pixels: int, reach: int) -> Mirror:
    with usual_settings():
        before, both, variances = _covariances(analysis, pixels)
        cells, c = len(variances), analysis.channels
        matrices = torch.zeros(cells, 2 * reach + 1, c, c, dtype=torch.float64)
        errors = torch.empty(cells, c, dtype=torch.float64)
        rounding = (analysis.step(KNOWN_TO) / 2) ** 2 / 12
        for cell in range(cells):
            seen = [tap for tap in range(2 * reach + 1) if 0 <= cell + tap - reach < cells]
            source = [cells - 1 - (cell + tap - reach) for tap in seen]
            known = before[source][:, source].permute(0, 2, 1, 3).reshape(len(seen) * c, -1)
            known = known + torch.diag(rounding.repeat(len(seen)))
            wanted = both[source, cell].reshape(-1, c)
            found = torch.linalg.solve(known, wanted)
            matrices[cell, seen] = found.reshape(-1, c, c)
            errors[cell] = 1 - (found * (2 * wanted - known @ found)).sum(0) / variances[cell]
        matrices = matrices.reshape(cells, -1, c)
        seen_bias = torch.zeros(cells, 2 * reach + 1, c, dtype=torch.float64)
        for tap in range(2 * reach + 1):
            inside = (torch.arange(cells) + tap - reach >= 0) & (torch.arange(cells) + tap - reach < cells)
            seen_bias[inside, tap] = analysis.bias
        constants = analysis.bias - (seen_bias.reshape(cells, 1, -1) @ matrices)[:, 0]
        return Mirror(matrices, constants, errors, variances)


def _covariances(analysis: Analysis, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of latents in a row: with each other [w, w, c, c], with those of the flipped row [w, w, c, c], variances [w, c].

    Along y a cell amid the image stands for all. Blobs are separable, so each axis is summed on its own.
    """
    bands = axis_bands(pixels, analysis.cell)
    f, cells, _ = bands.shape
    lines = bands.reshape(f * cells, pixels)
    flipped = bands.flip(-1).reshape(f * cells, pixels)
    across = axis_bands(ACROSS * f, f)[:, ACROSS // 2]
    c, weight = analysis.channels, analysis.weight
    before = torch.zeros(cells, cells, c, c, dtype=torch.float64)
    both, variances = torch.zeros_like(before), torch.zeros(cells, c, dtype=torch.float64)
    for blob in blobs():
        along, other = blob.common(pixels), across @ blob.common(ACROSS * f) @ across.T
        left = torch.einsum("ckpq,kl,qs->cpls", weight, blob.colours, other)
        pairs = torch.einsum("cpls,dlrs->cpdr", left, weight)  # channels and bands along x
        own = (lines @ along @ lines.T).reshape(f, cells, f, cells)
        mixed = (lines @ along @ flipped.T).reshape(f, cells, f, cells)
        alone = (flipped @ along @ flipped.T).reshape(f, cells, f, cells).diagonal(dim1=1, dim2=3)
        before += torch.einsum("cpdr,pirj->ijcd", pairs, own)
        both += torch.einsum("cpdr,pirj->ijcd", pairs, mixed)
        variances += torch.einsum("cpcr,pri->ic", pairs, alone)
    return before, both, variances
