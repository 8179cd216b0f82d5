# SPDX-License-Identifier: Apache-2.0
"""Random stretches of sounds, so that sounds of any length make batches of one size, and mixtures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from isthmus.datasets.latents.batch import Sample
from isthmus.datasets.latents.dataset import LatentDataset


class Stretches(Dataset[Sample]):
    """A data set of sound of which every sample is a random stretch: {"y": int [c, frames], "label": ...}.

    frames: of a stretch; 0 leaves all as it is. A sound that is shorter is repeated until it fills one, as silence
    behind it would be learned as a sign of what is short. targets: float32 [n, classes], which are labels instead of
    the data set's own.

    What is drawn depends on the seed and on the samples' numbers in the training alone, which a `Place` has: so one
    that was stopped goes on to the same curve, whichever process reads the batch.
    """

    def __init__(self, data: LatentDataset, frames: int, seed: int, targets: Tensor | None = None) -> None:
        shape = data.shapes["y"]
        self.data, self.seed, self.targets = data, seed, targets
        self.frames = min(frames, shape[1]) if shape else frames
        self.codec, self.mean, self.std = data.codec, data.mean, data.std
        self.shapes = {"y": (len(data.mean["y"]), self.frames) if frames else shape}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> Sample:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[Sample]:
        numbers = [getattr(place, "number", place) for place in places]
        drawn = np.random.SeedSequence([self.seed, *numbers]).generate_state(1)
        generator = torch.Generator().manual_seed(int(drawn[0]))
        made: list[Sample] = []
        for place, sample in zip(places, self.data.__getitems__(places), strict=True):
            label: Any = sample.get("label") if self.targets is None else self.targets[place]
            made.append({"y": self._stretch(sample["y"], generator), "label": label})
        return made

    def _stretch(self, y: Tensor, generator: torch.Generator) -> Tensor:
        if not self.frames or y.shape[1] == self.frames:
            return y
        if y.shape[1] < self.frames:
            return y.repeat(1, -(-self.frames // y.shape[1]))[:, : self.frames]
        start = int(torch.randint(y.shape[1] - self.frames + 1, (), generator=generator))
        return y[:, start : start + self.frames]
