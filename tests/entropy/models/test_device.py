# SPDX-License-Identifier: Apache-2.0
"""Factorized latents as a GPU decodes them, its kernel stood in for: heads, table numbers, offsets, what is refused."""

from typing import Any

import numpy as np
import pytest
import torch

from isthmus.entropy.coders.rans_decoder import RansDecoder
from isthmus.entropy.models import device
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.entropy.tables.family import TableFamily
from isthmus.errors import CorruptStreamError
from isthmus.kernels.cuda.rans import coder


def make_model(channels: int, scales: int = 5) -> FactorizedModel:
    reach = np.arange(-40, 41)
    rows = [np.exp(-np.abs(reach) / scale) for scale in np.geomspace(0.3, 12, scales)]
    spread = [np.exp(-np.abs(np.arange(-n, n + 1)) / 9) for n in (scales, 60)]
    family = TableFamily.from_counts([*rows, *spread], [-40] * scales + [-scales, -60])
    return FactorizedModel(family, np.full((100, channels), 2, np.uint8))


@pytest.fixture
def plain_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CUDA decoder, chunk by chunk with the decoder of the CPU."""

    def decode(data: Any, byte_bounds: Any, symbol_bounds: Any, indices: Any, tables: TableFamily) -> torch.Tensor:
        found = []
        for i in range(len(byte_bounds) - 1):
            part = data[byte_bounds[i] : byte_bounds[i + 1]].numpy().tobytes()
            own = indices[symbol_bounds[i] : symbol_bounds[i + 1]].numpy()
            decoder = RansDecoder(part, tables)
            found.append(torch.from_numpy(decoder.decode(own)))
            decoder.finish()
        return torch.cat(found)

    monkeypatch.setattr(coder, "decode", decode)
    monkeypatch.setattr(device, "_uploaded", lambda family, _: family)


@pytest.mark.usefixtures("plain_kernel")
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 4), (7, 16, 9)])
def test_equals_the_cpu(shape: tuple[int, int, int]) -> None:
    model, rng = make_model(shape[0]), np.random.default_rng(shape[0])
    planes = np.rint(rng.laplace(rng.integers(-50, 50), 4, (6, *shape))).astype(np.int16)
    planes[0, 0, 0, 0], planes[1, 0, 0, 0] = -(1 << 15), (1 << 15) - 1
    rows = [1, 50, 100, 7, 8, 9]
    payloads = model.encode_batch(planes, rows)
    found, choices = device.decode_batch(model, payloads, shape, rows, "cpu")
    assert found.dtype == torch.int16 and np.array_equal(found.numpy(), planes)
    assert list(choices) == model.decode_batch(payloads, shape, rows)[1]


@pytest.mark.usefixtures("plain_kernel")
def test_what_is_not_whole_is_refused() -> None:
    model = make_model(2)
    planes = np.zeros((2, 2, 4, 4), np.int16)
    good = model.encode_batch(planes, 50)
    for bad in (b"", good[0][:-2], b"\x00" * 9, good[0] + b"\0\0"):
        with pytest.raises(CorruptStreamError):
            device.decode_batch(model, [good[0], bad], (2, 4, 4), [50, 50], "cpu")
    with pytest.raises(CorruptStreamError, match="cannot hold"):
        device.decode_batch(model, good, (2, 1 << 14, 1 << 14), [50, 50], "cpu")


def test_contexts_are_named() -> None:
    assert "factorized" in str(device.refusal(object()))
