# SPDX-License-Identifier: Apache-2.0
"""Latents along time decoded on a GPU: the payloads of many units, of any lengths, in one launch."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from isthmus.entropy.coders.batch import join_payloads
from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.tables.fixed_log2 import COST_ONE
from isthmus.kernels.cuda.context import causal as kernels

WHAT = "latent payload"


class Places(NamedTuple):
    """Of each payload, int64 [n]: its frames T, where its first integer goes, how far on the next plane's is (at least
    T), and its row of the model, 1..100.
    """

    frames: NDArray[np.int64]
    firsts: NDArray[np.int64]
    strides: NDArray[np.int64]
    rows: NDArray[np.int64]


def has_room(
    model: CausalModel, payloads: Sequence[bytes | memoryview], frames: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether each payload can hold so many frames: what `CausalModel.check_room` asks of one."""
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    held: NDArray[np.bool_] = model.least_cost * model.predictor.channels * frames <= 17 * COST_ONE * sizes
    return held


@lru_cache(maxsize=8)
def _uploaded(model: CausalModel, device: torch.device) -> kernels.DeviceCausal:
    p = model.predictor
    lags = int(p.tap_lags.max(initial=0))
    biases = p.mean_bias, p.scale_bias, p.scale_offset
    return kernels.DeviceCausal.upload(p.weights, biases, lags, model.family, device)


def decode_units(
    model: CausalModel, payloads: Sequence[bytes | memoryview], places: Places, out: torch.Tensor
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Writes the integers of payloads for which there is room to `out`, int16 on a GPU: those of the CPU, bit for bit.

    Gives image offsets int8 [n, C] and whether each payload is whole; what it is not, `CausalModel.decode` says. Only
    integers and offsets of whole ones mean something. Nothing outside their places is read or written.
    """
    there = _uploaded(model, out.device)
    data, bounds = join_payloads(payloads, WHAT)
    columns = bounds[:-1], np.diff(bounds), places.frames, places.firsts, places.strides, places.rows - 1
    units = torch.from_numpy(np.stack(columns, axis=1)).to(out.device)
    offsets, status = kernels.decode(torch.from_numpy(data.copy()).to(out.device), units, there, out)
    return offsets.cpu().numpy(), status.cpu().numpy() == 0
