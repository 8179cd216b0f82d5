# SPDX-License-Identifier: Apache-2.0
"""The same bytes, latents and pixels whatever torch has been set to."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import isthmus
from isthmus.codecs import registry


@contextmanager
def changed(change: Callable[[Any], Any], to: Any, before: Any) -> Iterator[None]:
    change(to)
    try:
        yield
    finally:
        change(before)


def default_dtype(dtype: torch.dtype) -> Any:
    return changed(torch.set_default_dtype, dtype, torch.get_default_dtype())


def threads(number: int) -> Any:
    return changed(torch.set_num_threads, number, torch.get_num_threads())


SETTINGS: dict[str, Callable[[], Any]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "half": lambda: default_dtype(torch.float16),
    "meta": lambda: torch.device("meta"),
    "default device": lambda: changed(torch.set_default_device, "meta", None),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "deterministic": lambda: changed(torch.use_deterministic_algorithms, True, False),
    "one thread": lambda: threads(1),
    "three threads": lambda: threads(3),
}


@pytest.fixture(scope="module")
def image(astronaut: np.ndarray) -> np.ndarray:
    return astronaut[:173, :219]


def results(image: np.ndarray) -> list[Any]:
    codec = isthmus.load("walloc-image-f8c12")
    data = codec.encode(image, quality=40)
    latent = codec.unpack(data)
    batch = codec.unpack_batch([data, data])
    values = [latent.dequantize()["y"], batch.dequantize()["y"], latent.planes["y"]]
    pixels = [codec.decode(data), codec.decode(data, synthesis="linear")]
    return [
        data,
        codec.encode(image, quality=40, entropy="factorized"),
        *(np.array(v.tolist()) for v in values + pixels),
    ]


@pytest.mark.parametrize("loaded", ["before", "within"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_change_nothing(setting: str, loaded: str, image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = results(image)
    if loaded == "within":
        monkeypatch.setattr(registry, "_loaded", {})
    with ExitStack() as stack:
        stack.enter_context(SETTINGS[setting]())
        found = results(image)
    for a, b in zip(found, wanted, strict=True):
        assert a == b if isinstance(a, bytes) else np.array_equal(a, b)


def test_a_network_loaded_in_inference_mode_can_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_loaded", {})
    with torch.inference_mode():
        codec = isthmus.load("walloc-image-f8c12")
        model = codec.model
    model.requires_grad_()
    y = torch.zeros(1, 12, 4, 4)
    model.synthesize(y, torch.zeros(1)).sum().backward()
    assert all(p.grad is not None for p in model.network.parameters())
