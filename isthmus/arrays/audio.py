# SPDX-License-Identifier: Apache-2.0
"""Sound as callers hand it over (numpy, torch; one or several channels) and as codecs take it."""

from typing import Any

import numpy as np

MAX_CHANNELS = 255
FULL_SCALE = {"int16": 2.0**15, "int32": 2.0**31}


def to_audio(samples: Any) -> np.ndarray:
    """float32 [C, T], contiguous, from torch or numpy [C, T] or [T]: floats, int16 or int32 (full scale is 1).

    Raises TypeError for other types and dtypes, ValueError for other shapes and for samples that are not finite.
    """
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu()
        samples = (samples.float() if str(samples.dtype) == "torch.bfloat16" else samples).numpy()
    if hasattr(samples, "filled"):  # np.ma
        raise TypeError("encode: sound is a masked array, whose mask would be lost: fill it first")
    known = isinstance(samples, np.ndarray) and (samples.dtype.kind == "f" or samples.dtype.name in FULL_SCALE)
    if not known:
        got = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise TypeError(f"encode: sound is {got}, expected torch or numpy floats, int16 or int32, [C, T] or [T]")
    array = samples[None] if samples.ndim == 1 else samples
    if array.ndim != 2 or not 1 <= len(array) <= MAX_CHANNELS:
        hint = " (it is laid out [T, C]: transpose it)" if array.ndim == 2 and 1 <= array.shape[1] <= 8 else ""
        raise ValueError(
            f"encode: sound of shape {samples.shape}, expected [C, T] or [T], C from 1 to {MAX_CHANNELS}{hint}"
        )
    if array.dtype.kind != "f":
        return np.ascontiguousarray(array * np.float64(1 / FULL_SCALE[array.dtype.name]), np.float32)
    with np.errstate(over="ignore"):  # of float64, found below
        array = np.ascontiguousarray(array, np.float32)
    wrong = ~np.isfinite(array)
    if wrong.any():
        channel, place = np.argwhere(wrong)[0]
        raise ValueError(
            f"encode: sound holds NaN or infinite samples ({int(wrong.sum())} of them, the first at sample {place} of "
            f"channel {channel}), expected finite ones"
        )
    return array


def from_audio(samples: np.ndarray, output: str = "torch") -> Any:
    """float32 [C, T] as torch or, for output="numpy", as it is. Raises ValueError for other outputs."""
    if output == "numpy":
        return samples
    if output != "torch":
        raise ValueError(f"decode: output {output!r}, expected 'torch' or 'numpy'")
    import torch

    return torch.from_numpy(samples)
