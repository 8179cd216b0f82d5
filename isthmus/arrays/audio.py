# SPDX-License-Identifier: Apache-2.0
"""Sound as callers hand it over (numpy, torch; one or several channels) and as codecs take it."""

from typing import Any

import numpy as np

MAX_CHANNELS = 255


def to_audio(samples: Any) -> np.ndarray:
    """float32 [C, T], contiguous, from torch or numpy floats [C, T] or [T].

    Raises TypeError for other types and dtypes, ValueError for other shapes and for samples that are not finite.
    """
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu().numpy()
    if hasattr(samples, "filled"):  # np.ma
        raise TypeError("encode: sound is a masked array, whose mask would be lost: fill it first")
    if not isinstance(samples, np.ndarray) or samples.dtype.kind != "f":
        got = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise TypeError(f"encode: sound is {got}, expected torch or numpy floats, [C, T] or [T]")
    array = samples[None] if samples.ndim == 1 else samples
    if array.ndim != 2 or not 1 <= len(array) <= MAX_CHANNELS:
        raise ValueError(f"encode: sound of shape {samples.shape}, expected [C, T] or [T], C from 1 to {MAX_CHANNELS}")
    array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        raise ValueError("encode: sound holds NaN or infinite samples, expected finite ones")
    return array


def from_audio(samples: np.ndarray, output: str = "torch") -> Any:
    """float32 [C, T] as torch or, for output="numpy", as it is. Raises ValueError for other outputs."""
    if output == "numpy":
        return samples
    if output != "torch":
        raise ValueError(f"decode: output {output!r}, expected 'torch' or 'numpy'")
    import torch

    return torch.from_numpy(samples)
