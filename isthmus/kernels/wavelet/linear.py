# SPDX-License-Identifier: Apache-2.0
"""A 1x1 linear map of bands with a fixed order of sums, and the quantiser behind it.

    value[o, x] = (((bias[o] + w[o, 0] * b[0, x]) + w[o, 1] * b[1, x]) + ...) * gain[o]

in float32, each operation rounded on its own (no FMA), whatever the position, strip and thread. The quantiser is

    q = sign(value) * floor(|value| + offset), clipped to int16,

with `offset` in (0, 0.5]: 0.5 rounds to nearest with ties away from zero, less widens the zero bin, which saves rate.

Four outputs and four inputs are taken at a time over a run of positions, so that 16 products need 8 loads; the sums of
a panel of outputs stay in L1 while the inputs stream through once. The fixed distance between the sums of two outputs
lets LLVM see that they do not overlap.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Float32
from isthmus.kernels import tier
from isthmus.kernels.compiled import kernel
from isthmus.kernels.wavelet import plain

RUN = 256  # positions at a time: the sums of a panel take 24 KiB
PANEL = 24  # outputs at a time


@kernel
def _add_four(sums, source, b0, b1, b2, b3, w, k, n):  # type: ignore[no-untyped-def]
    """Add the products of four inputs to four outputs; w is float32 [4, K]."""
    x0, x1, x2, x3 = source[b0 : b0 + n], source[b1 : b1 + n], source[b2 : b2 + n], source[b3 : b3 + n]
    w00, w01, w02, w03 = w[0, k], w[0, k + 1], w[0, k + 2], w[0, k + 3]
    w10, w11, w12, w13 = w[1, k], w[1, k + 1], w[1, k + 2], w[1, k + 3]
    w20, w21, w22, w23 = w[2, k], w[2, k + 1], w[2, k + 2], w[2, k + 3]
    w30, w31, w32, w33 = w[3, k], w[3, k + 1], w[3, k + 2], w[3, k + 3]
    for i in range(n):
        a, b, c, d = x0[i], x1[i], x2[i], x3[i]
        sums[i] = (((sums[i] + w00 * a) + w01 * b) + w02 * c) + w03 * d
        sums[i + RUN] = (((sums[i + RUN] + w10 * a) + w11 * b) + w12 * c) + w13 * d
        sums[i + 2 * RUN] = (((sums[i + 2 * RUN] + w20 * a) + w21 * b) + w22 * c) + w23 * d
        sums[i + 3 * RUN] = (((sums[i + 3 * RUN] + w30 * a) + w31 * b) + w32 * c) + w33 * d


@kernel
def _sum_panel(sums, source, offsets, weight, bias, first, last, position, n):  # type: ignore[no-untyped-def]
    """Sums of outputs first .. last (a multiple of 4 of them) over n <= RUN positions."""
    for o in range(last - first):
        sums[o * RUN : o * RUN + n] = bias[first + o]
    for k in range(0, len(offsets), 4):
        b0, b1, b2, b3 = offsets[k], offsets[k + 1], offsets[k + 2], offsets[k + 3]
        for o in range(0, last - first, 4):
            _add_four(
                sums[o * RUN : (o + 4) * RUN],
                source, b0 + position, b1 + position, b2 + position, b3 + position,
                weight[first + o : first + o + 4], k, n,
            )  # fmt: skip


@kernel
def map_bands(source, offsets, weight, bias, gain, count, target, targets):  # type: ignore[no-untyped-def]
    """Write the values of output o at target[targets[o] :], for `count` positions from source[offsets[k]] on."""
    sums = np.empty(PANEL * RUN, np.float32)
    for position in range(0, count, RUN):
        n = min(RUN, count - position)
        for first in range(0, len(weight), PANEL):
            last = min(first + PANEL, len(weight))
            _sum_panel(sums, source, offsets, weight, bias, first, last, position, n)
            for o in range(first, min(last, len(targets))):
                values = sums[(o - first) * RUN : (o - first) * RUN + n]
                row = target[targets[o] + position : targets[o] + position + n]
                scale = gain[o]
                for i in range(n):
                    row[i] = values[i] * scale


@kernel
def quantize_bands(source, offsets, weight, bias, gain, count, offset, target, targets):  # type: ignore[no-untyped-def]
    """The same, quantised into int16 `target`."""
    sums = np.empty(PANEL * RUN, np.float32)
    for position in range(0, count, RUN):
        n = min(RUN, count - position)
        for first in range(0, len(weight), PANEL):
            last = min(first + PANEL, len(weight))
            _sum_panel(sums, source, offsets, weight, bias, first, last, position, n)
            for o in range(first, min(last, len(targets))):
                values = sums[(o - first) * RUN : (o - first) * RUN + n]
                row = target[targets[o] + position : targets[o] + position + n]
                scale = gain[o]
                for i in range(n):
                    value = values[i] * scale
                    magnitude = np.int32(min(abs(value) + offset, np.float32(32768)))  # what is cut off is the floor
                    row[i] = -magnitude if value < 0 else min(magnitude, 32767)


def pad_weights(weight: Float32, bias: Float32, gain: Float32) -> tuple[Float32, Float32, Float32]:
    """Weights in the shape of the kernels: outputs and inputs made multiples of 4 with zeros."""
    weight = np.asarray(weight, np.float32)
    if weight.ndim != 2 or min(weight.shape) < 1:
        raise ValueError(f"weight: got shape {weight.shape}; expected [outputs, inputs]")
    outputs, inputs = weight.shape
    for name, vector in (("bias", bias), ("gain", gain)):
        if np.shape(vector) != (outputs,):
            raise ValueError(f"{name}: got shape {np.shape(vector)}; expected ({outputs},), one for each output")
    rows = -outputs % 4
    padded = np.pad(weight, ((0, rows), (0, -inputs % 4)))
    return padded, np.pad(np.asarray(bias, np.float32), (0, rows)), np.pad(np.asarray(gain, np.float32), (0, rows))


def pad_offsets(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The inputs' offsets for padded weights: the last input stands in for those whose weights are zero."""
    return np.pad(offsets, (0, -len(offsets) % 4), mode="edge")


def apply_linear(bands: Float32, weight: Float32, bias: Float32, gain: Float32 | None = None) -> Float32:
    """value[o] of the module's definition: float32 [K, h, w], [c, K], [c], [c] -> float32 [c, h, w]."""
    bands = np.ascontiguousarray(bands, np.float32)
    gain = np.ones(len(weight), np.float32) if gain is None else gain
    if bands.ndim != 3 or np.ndim(weight) != 2 or np.shape(weight)[1] != len(bands):
        raise ValueError(f"got bands {bands.shape} and weight {np.shape(weight)}; expected [K, h, w] and [c, K]")
    padded, biases, gains = pad_weights(weight, bias, gain)
    count = bands.shape[1] * bands.shape[2]
    values = np.empty((len(weight), *bands.shape[1:]), np.float32)
    offsets = pad_offsets(np.arange(len(bands), dtype=np.int64) * count)
    targets = np.arange(len(weight), dtype=np.int64) * count
    map_all = tier.pick(map_bands, plain.map_bands, count * padded.size * plain.PRODUCT)
    map_all(bands.reshape(-1), offsets, padded, biases, gains, count, values.reshape(-1), targets)
    return values
