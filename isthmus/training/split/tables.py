# SPDX-License-Identifier: Apache-2.0
"""A trained bottleneck to the weights of a codec: what people see of it, and the tables of what it sends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from isthmus.codecs.bottlefit.weights import BottlefitWeights
from isthmus.models.bottleneck import FACTOR, Bottleneck, BottleneckHead
from isthmus.models.bottleneck.head import whole_cells
from isthmus.training.walloc.context import fit_context
from isthmus.training.walloc.tables import Analyze, fit_tables

MIDDLE = 127.5
RIDGE = 1e-3  # of the mean square of features: keeps the picture of what is hardly sent small


def weights_of(
    trained: Bottleneck, images: Sequence[Tensor], *, contexts: int = 0, device: str = "cpu", seed: int = 0
) -> BottlefitWeights:
    """What a codec needs of a bottleneck, all of it fitted to images, uint8 [3, H, W] of one size.

    contexts: steps of a context model, fitted on a device; 0: none.
    """
    trained = trained.cpu().eval()
    head = trained.folded(torch.stack(list(images)).float())
    fit_picture(head, images)
    head.requires_grad_(False)
    analyze = analyzer(head)
    tables = fit_tables(analyze, images, head.config.channels)
    context = None
    if contexts:
        context = fit_context(analyze, images, device=torch.device(device), steps=contexts, seed=seed)
    return BottlefitWeights(head, tables, context)


def analyzer(head: BottleneckHead) -> Analyze:
    """What a head sends of an image at a quality."""

    def analyze(image: Tensor, quality: int) -> NDArray[np.int16]:
        with torch.inference_mode():
            return head.symbols(image[None], quality)[0].numpy().astype(np.int16)

    return analyze


@torch.no_grad()
def fit_picture(head: BottleneckHead, images: Sequence[Tensor]) -> None:
    """Sets `look` and `grey` to the least squared error of pixels."""
    c = head.config.channels
    size = 9 * c + 1
    gram, moment = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, 3 * FACTOR**2, dtype=torch.float64)
    count = 0
    for image in images:
        pixels = whole_cells(image[None].float())
        near: Any = F.unfold(F.pad(head(pixels), (1, 1, 1, 1), mode="replicate"), 3)[0].T.double()  # [places, 9 c]
        wanted = F.pixel_unshuffle(pixels - MIDDLE, FACTOR)[0].flatten(1).T.double()
        near = torch.cat([near, torch.ones(len(near), 1, dtype=torch.float64)], 1)
        gram, moment, count = gram + near.T @ near, moment + near.T @ wanted, count + len(near)
    ridge = RIDGE * gram.diagonal()[:-1].mean() * torch.eye(size, dtype=torch.float64)
    ridge[-1, -1] = 0
    solution = torch.linalg.solve(gram + ridge + 1e-9 * torch.eye(size, dtype=torch.float64), moment).T.float()
    head.look.copy_(solution[:, :-1].reshape(head.look.shape))
    head.grey.copy_(solution[:, -1] + MIDDLE)
