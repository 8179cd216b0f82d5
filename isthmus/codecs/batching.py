# SPDX-License-Identifier: Apache-2.0
"""Several streams, latents or samples at once: what is stacked, and the error of one among them."""

from __future__ import annotations  # torch is loaded only where it is needed

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs


def is_one(data: bytes | Sequence[bytes]) -> TypeIs[bytes]:
    """Whether it is a stream, rather than a list or tuple of streams."""
    return not isinstance(data, list | tuple)


def stack_planes(planes: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Planes of latents along a new first axis. Raises ValueError where there are none, or their shapes differ."""
    if not planes:
        raise ValueError("a batch of no latents has no planes")
    shapes = {name: {tuple(p[name].shape) for p in planes} for name in planes[0]}
    differing = {name: sorted(found) for name, found in shapes.items() if len(found) > 1}
    if differing:
        raise ValueError(f"latents of different shapes cannot be stacked: {differing}; take them one by one")
    import torch

    return {name: torch.stack([p[name] for p in planes]) for name in planes[0]}


def stack_samples(samples: list[Any]) -> Any:
    """torch tensors or numpy arrays of one shape and dtype as one batch, any others as the list that they are in."""
    import numpy as np
    import torch

    kinds = {(type(one), getattr(one, "shape", None), getattr(one, "dtype", None)) for one in samples}
    if len(kinds) != 1:
        return samples
    if isinstance(samples[0], torch.Tensor):
        return torch.stack(samples)
    return np.stack(samples) if isinstance(samples[0], np.ndarray) else samples


def check_errors(errors: str) -> None:
    """Raises ValueError unless `errors` is what `Codec.unpack_batch` takes."""
    if errors not in ("raise", "return"):
        raise ValueError(f"unpack_batch: errors {errors!r}, expected 'raise' or 'return'")


def named_by_place(error: IsthmusError, place: int, count: int) -> IsthmusError:
    """The same error for stream `place` of `count`."""
    return type(error)(f"stream {place} of {count}: {error}")


def refuse_path(samples: Any) -> None:
    """Raises TypeError for the path of a file, which codecs do not read."""
    if isinstance(samples, str | os.PathLike):
        raise TypeError(f"encode: got the path {samples!s}: files are read by isthmus.encode(path, codec=...)")
