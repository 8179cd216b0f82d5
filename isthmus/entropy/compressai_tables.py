# SPDX-License-Identifier: Apache-2.0
"""Tables of trained compressai models: the buffers of `EntropyBottleneck` and `GaussianConditional` as a TableFamily.

compressai itself is not needed, only its modules or their `state_dict`. A row of `_quantized_cdf` is a cumulative table
of 2**16 slots with `_cdf_length` entries, whose last interval is the escape; `_offset` is the integer of the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.arrays.numbers import as_array, check_finite, rounded
from isthmus.arrays.types import Float32
from isthmus.entropy.tables.family import TableFamily

CDF_SLOTS = 1 << 16

Buffers = Mapping[str, Any] | Any


def read_tables(model: Buffers, *, prefix: str = "", precision: int | None = None) -> TableFamily:
    """Tables that code the same alphabets with the same distributions, at the precision that `from_pmf` chooses.

    model: a module, or a `state_dict` whose keys begin with `prefix` ("entropy_bottleneck." for one in a larger model).
    Raises ValueError that names the buffer that is missing, empty (`update()` was not called) or no table.
    """
    cdf = _integers(_buffer(model, prefix, "_quantized_cdf"), 2, f"{prefix}_quantized_cdf")
    length = _integers(_buffer(model, prefix, "_cdf_length"), 1, f"{prefix}_cdf_length")
    offset = _integers(_buffer(model, prefix, "_offset"), 1, f"{prefix}_offset")
    if not len(cdf) == len(length) == len(offset):
        raise ValueError(f"compressai tables: {len(cdf)} tables, {len(length)} lengths and {len(offset)} offsets")
    if length.min() < 3 or length.max() > cdf.shape[1]:
        raise ValueError(
            f"compressai tables: {prefix}_cdf_length {length.min()}..{length.max()}, expected 3..{cdf.shape[1]}"
        )
    rows = []
    for k, (row, n) in enumerate(zip(cdf, length.tolist(), strict=True)):
        if row[0] != 0 or row[n - 1] != CDF_SLOTS or (np.diff(row[:n]) < 1).any():
            raise ValueError(f"compressai tables: {prefix}_quantized_cdf {k} does not rise from 0 to {CDF_SLOTS}")
        rows.append(np.diff(row[: n - 1]) / CDF_SLOTS)
    return TableFamily.from_pmf(rows, offset.tolist(), precision=precision)


@dataclass(frozen=True, eq=False)
class CompressaiBottleneck:
    """A trained `EntropyBottleneck` of C channels: its tables, one a channel, and its medians, float32 [C]."""

    tables: TableFamily
    medians: Float32

    @classmethod
    def read(cls, model: Buffers, *, prefix: str = "", precision: int | None = None) -> "CompressaiBottleneck":
        """Arguments and errors as for `read_tables`."""
        tables = read_tables(model, prefix=prefix, precision=precision)
        quantiles = _floats(_buffer(model, prefix, "quantiles"))
        if quantiles.shape != (len(tables), 1, 3):
            raise ValueError(f"compressai tables: {prefix}quantiles {quantiles.shape}, expected ({len(tables)}, 1, 3)")
        return cls(tables, quantiles[:, 0, 1])

    def indices(self, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        """The table of each position of a latent of shape (N, C, ...)."""
        if len(shape) < 2 or shape[1] != len(self.tables):
            raise ValueError(f"compressai tables: a latent of shape {shape}, expected (N, {len(self.tables)}, ...)")
        channels = np.arange(len(self.tables), dtype=np.uint16)
        return np.broadcast_to(channels.reshape(-1, *[1] * (len(shape) - 2)), shape)

    def symbols(self, z: Any) -> NDArray[np.int32]:
        """int32 symbols of a latent (N, C, ...), numpy or torch: what lies above the medians, rounded.

        Raises ValueError for NaN, infinities and what 32 bits do not hold.
        """
        values = _floats(z)
        above = values - self._medians(self.indices(values.shape).ndim)
        return rounded(above, "compressai tables: symbols of latents")

    def dequantize(self, symbols: ArrayLike) -> Float32:
        """float32 latents of symbols (N, C, ...)."""
        values = _floats(symbols)
        return values + self._medians(values.ndim)

    def _medians(self, axes: int) -> Float32:
        return self.medians.reshape(-1, *[1] * (axes - 2))


@dataclass(frozen=True, eq=False)
class CompressaiGaussian:
    """A trained `GaussianConditional`: its tables and their scales, rising float32 [K]; means come from the caller.

    Scales below `least`, compressai's `scale_bound`, count as that.
    """

    tables: TableFamily
    scales: Float32
    least: float = 0.0

    @classmethod
    def read(cls, model: Buffers, *, prefix: str = "", precision: int | None = None) -> "CompressaiGaussian":
        """Arguments and errors as for `read_tables`."""
        tables = read_tables(model, prefix=prefix, precision=precision)
        scales = _floats(_buffer(model, prefix, "scale_table"))
        if scales.shape != (len(tables),) or (np.diff(scales) < 0).any():
            raise ValueError(f"compressai tables: {prefix}scale_table must be {len(tables)} rising scales")
        bound = _floats(_buffer(model, prefix, "scale_bound"))
        if bound.size != 1:
            raise ValueError(f"compressai tables: {prefix}scale_bound has {bound.size} values, expected one")
        return cls(tables, scales, bound.item())

    def indices(self, scales: Any) -> NDArray[np.uint16]:
        """The table of each scale, numpy or torch: the first that is at least as wide, else the last (as compressai).

        A scale that is not finite raises ValueError.
        """
        values = _floats(scales)
        check_finite(values, "compressai tables: scales")
        return np.searchsorted(self.scales[:-1], np.maximum(values, np.float32(self.least)), side="left").astype(
            np.uint16
        )

    def symbols(self, y: Any, means: Any = 0) -> NDArray[np.int32]:
        """int32 symbols of latents: what lies above the means, rounded; numpy or torch of shapes that broadcast.

        Raises ValueError for NaN, infinities and what 32 bits do not hold.
        """
        return rounded(_floats(y) - _floats(means), "compressai tables: symbols of latents")

    def dequantize(self, symbols: ArrayLike, means: Any = 0) -> Float32:
        """float32 latents of symbols."""
        return _floats(symbols) + _floats(means)


def _buffer(model: Buffers, prefix: str, name: str) -> Any:
    value = model.get(prefix + name) if isinstance(model, Mapping) else getattr(model, name, None)
    if value is None:
        raise ValueError(f"compressai tables: there is no {prefix}{name}; was this a model of compressai?")
    return value


def _floats(values: Any) -> Float32:
    return as_array(values).astype(np.float32)


def _integers(values: Any, axes: int, name: str) -> NDArray[np.int64]:
    array = as_array(values)
    if array.size == 0:
        raise ValueError(f"compressai tables: {name} is empty; call update() on the model first")
    if array.ndim != axes or array.dtype.kind not in "iu":
        raise ValueError(f"compressai tables: {name} is {array.dtype} {array.shape}, expected integers on {axes} axes")
    return array.astype(np.int64)
