# SPDX-License-Identifier: Apache-2.0
"""What a family says of itself for the shared tests, and what these ask of any kind of samples."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.codecs.registry import FAMILIES


@dataclass(frozen=True)
class Case:
    """Small samples and how they are encoded.

    name: of the case. codec: what `isthmus.load` takes. options: of `encode`. exact: decoding gives the samples bit for
    bit; else least: dB between them, of the peak (image: 255, sound: 1). golden: a stream is kept, its place below
    tests/golden without the suffix.
    """

    name: str
    codec: str
    samples: Callable[[], Any]
    options: dict[str, Any] = field(default_factory=dict)
    exact: bool = False
    least: float = 20.0
    golden: str | None = None

    def encode(self) -> bytes:
        return isthmus.load(self.codec).encode(self.samples(), **self.options)


def cases_of(family: str) -> list[Case]:
    """The cases of a family; one without cases fails the shared tests."""
    return import_module(f"tests.codecs.{family}.cases").CASES


def goldens_of(family: str) -> list[Case]:
    return import_module(f"tests.codecs.{family}.cases").GOLDEN


def every_case() -> list[Case]:
    """Those of what does not ship among them, for which `all_ship` must have begun."""
    from tests.seam.cases import CASES

    return [*(case for family in FAMILIES for case in cases_of(family)), *CASES]


@contextmanager
def all_ship(*, toy: bool = True) -> Iterator[None]:
    """What does not ship can be found while it lasts: the toy family, a small bottlefit."""
    from tests.codecs.bottlefit.cases import plug_in as plug_bottlefit_in
    from tests.seam.plug import plug_in

    with pytest.MonkeyPatch.context() as monkeypatch:
        if toy:
            plug_in(monkeypatch)
        plug_bottlefit_in(monkeypatch)
        yield


def decoded(codec: isthmus.Codec, data: bytes) -> Any:
    """Samples as numpy where the codec can."""
    return codec.decode(data, output="numpy") if codec.DecodeOptions.has("output") else codec.decode(data)


def plain(samples: Any) -> dict[str, np.ndarray]:
    """Samples of any kind as bytes and shapes that can be compared."""
    if isinstance(samples, Mapping):
        return {f"{name}{key}": value for name, part in samples.items() for key, value in plain(part).items()}
    if isinstance(samples, torch.Tensor):
        shape = np.array([*samples.shape, str(samples.dtype)])
        return {"bits": samples.contiguous().reshape(-1).view(torch.uint8).numpy(), "shape": shape}
    return {"bits": np.ascontiguousarray(samples), "shape": np.array(samples.shape)}


def same(a: Any, b: Any) -> bool:
    """Whether two samples, or two sets of planes, are equal in shape, dtype and every bit."""
    first, second = plain(a), plain(b)
    return list(first) == list(second) and all(np.array_equal(first[k], second[k]) for k in first)


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR of two arrays of one shape."""
    assert a.shape == b.shape and a.dtype == b.dtype
    if a.size == 0 or np.array_equal(a, b):
        return math.inf
    peak = 255.0 if a.dtype == np.uint8 else 1.0
    return float(10 * np.log10(peak**2 / np.square(a.astype(np.float64) - b).mean()))


def record_of(plane: torch.Tensor) -> dict[str, Any]:
    """What is kept of a plane: dtype, shape, SHA-256 of its little-endian bytes."""
    data = plane.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"dtype": str(plane.dtype), "shape": list(plane.shape), "sha256": hashlib.sha256(data).hexdigest()}
