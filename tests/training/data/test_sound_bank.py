# SPDX-License-Identifier: Apache-2.0
"""Sounds of a training, and what nothing can be learned from."""

import numpy as np
import pytest
import torch

from isthmus.training.data.sound import SoundBank
from tests.codecs.walloc.audio.tiny import tones

CPU = torch.device("cpu")


def test_silence_alone_is_refused() -> None:
    silence = np.zeros((2, 5000), np.float32)
    for sounds in ([silence], [silence, np.full((1, 5000), 0.25, np.float32)]):
        with pytest.raises(ValueError, match="only silence"):
            SoundBank(sounds, 1000, CPU)
    with pytest.raises(ValueError, match="at least 6000 samples"):
        SoundBank([silence], 6000, CPU)
    assert len(SoundBank([silence, tones(1, 5000)], 1000, CPU)) == 2
