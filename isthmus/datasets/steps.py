# SPDX-License-Identifier: Apache-2.0
"""What the integers of a codec are multiplied by to be floats."""

import numpy as np
import torch
from torch import Tensor

from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.base import Codec, Latent, LatentSpec


def steps(codec: Codec, header: TrackHeader, planes: dict[str, Tensor]) -> dict[str, list[float] | None]:
    """By plane and channel, what integers are multiplied by to be as the codec dequantizes them; None: it is no factor.

    planes: of one latent with that header, whose shapes and dtypes count.
    """
    probes = []
    for value in (0, 1, 3):
        filled = {name: torch.full_like(plane, value) for name, plane in planes.items()}
        probes.append(codec.dequantize(Latent(filled, LatentSpec(header), codec)))
    found: dict[str, list[float] | None] = {}
    for name, plane in planes.items():
        zero, one, three = (np.asarray(probe[name].double()) for probe in probes)
        if zero.shape != tuple(plane.shape) or not plane.numel() or zero.any() or not np.allclose(three, 3 * one):
            found[name] = None
            continue
        by_channel = one.reshape(len(one), -1)
        found[name] = by_channel[:, 0].tolist() if (by_channel == by_channel[:, :1]).all() else None
    return found
