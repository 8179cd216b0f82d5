# SPDX-License-Identifier: Apache-2.0
"""The kernels' half of a model of sound against the modules of torch."""

import numpy as np
import pytest
import torch

from isthmus.models.filter_bank import TRANSFORMS
from isthmus.models.walloc.audio import WallocAudio, WallocAudioConfig
from isthmus.models.walloc.audio_linear import AudioLinear


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_it_is_bank_and_linear_layers(transform: str) -> None:
    torch.manual_seed(0)
    config = WallocAudioConfig(7, transform=transform, factor=16, width=8, blocks=1)
    model = WallocAudio(config).eval()
    for table in (model.log_gain, model.log_step):
        torch.nn.init.normal_(table, std=0.3)
    linear, bank = AudioLinear.from_state(config, model.state_dict()), config.bank
    x = np.random.default_rng(0).standard_normal((2, 40 * 16)).astype(np.float32)
    level = linear.level(37)
    with torch.no_grad():
        expected = model.analyze(bank.analyze(torch.from_numpy(x)).flatten(0, 1)[None], level)[0]
        found = linear.analyze(x, 37)
        assert np.allclose(found, expected, atol=1e-4)
        q = np.rint(3 * found).astype(np.float32)
        bands = model.synthesize_linear(torch.from_numpy(q)[None], level)[0]
        back = bank.synthesize(bands.reshape(2, 16, -1))
        assert np.allclose(linear.synthesize(q * linear.step(37)[:, None]), back, atol=1e-4)


def test_parts_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    config = WallocAudioConfig(7, factor=16, width=8, blocks=1)
    linear = AudioLinear.from_state(config, WallocAudio(config).state_dict())
    x = np.random.default_rng(0).standard_normal((2, 40 * 16)).astype(np.float32)
    whole = linear.analyze(x, 50)
    assert np.array_equal(linear.analyze(x[:, 5 * 16 : 30 * 16], 50), whole[:, 5:29])
    assert np.array_equal(linear.synthesize(whole)[:, 6 * 16 : 9 * 16], linear.synthesize(whole[:, 6:10].copy()))


def test_other_tensors_are_refused() -> None:
    config = WallocAudioConfig(7, factor=16, width=8, blocks=1)
    state = WallocAudio(config).state_dict()
    with pytest.raises(ValueError, match="expected"):
        AudioLinear.from_state(config, state | {"log_gain": torch.zeros(3, 7)})
    with pytest.raises(KeyError):
        AudioLinear.from_state(config, {})
